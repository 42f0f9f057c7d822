/**
 * Every maximum of the system in one place. Sizes are bytes, times are milliseconds, both
 * inclusive, unless a name says otherwise. Nothing in Rosetta grows without one of these.
 */

const kib = 1024;
const mib = 1024 * kib;

export const limits = {
  // What a client may send.
  keySizeBytesMax: 1024,
  valueSizeBytesMax: 1_572_864,
  jsonBodySizeBytesMax: 10 * mib,
  commandSizeBytesMax: 4 * mib,
  idempotencyKeySizeBytesMax: 128,
  operationCountMax: 128,
  transactionDepthMax: 4,
  jsonDepthMax: 32,
  requestTimeoutMsMax: 60_000,
  requestTimeoutMsDefault: 5_000,

  // What one answer may hold.
  rangeLimitDefault: 1_000,
  rangeLimitMax: 10_000,
  rangeSizeBytesMax: 8 * mib,
  deleteRangeKeyCountMax: 10_000,

  // Proposals and reads that wait on one node.
  pendingProposalCountMax: 16_384,
  /** Of a leader's own; and of those that wait for another leader or its answer. */
  pendingProposalSizeBytesMax: 64 * mib,
  /** Of these, in the log of a leader at once. */
  proposalWindowSizeBytesMax: 8 * mib,
  pendingReadCountMax: 65_536,
  forwardedRequestCountMax: 16_384,
  /** Answers to forwards for which the way back was not free. */
  keptResponseSizeBytesMax: 32 * mib,

  // Raft.
  memberCountMax: 7,
  /** Let in by a node that may be behind, and no members as far as it knows. */
  strangerCountMax: 32,
  /** Incarnations of members that left, so that a returning one is told. */
  removedMemberCountMax: 32,
  uncommittedSizeBytesMax: 128 * mib,
  appendSizeBytesMax: 256 * kib,
  inflightSizeBytesMax: 8 * mib,
  inflightCountMax: 256,
  committedSizeBytesMax: 4 * mib,
  entryDataSizeBytesMax: 5 * mib,

  // Transport.
  frameSizeBytesMax: 256 * kib,
  messageSizeBytesMax: 16 * mib,
  peerBufferSizeBytesMax: 32 * mib,
  /** Read from all peers in one turn of the event loop, and from all clients. */
  peerTurnSizeBytesMax: 1 * mib,
  handshakeTimeoutMs: 5_000,
  handshakeHeaderSizeBytesMax: 8 * kib,
  peerControlBufferSizeBytesMax: 1 * mib,
  peerConnectTimeoutMs: 1_000,
  peerPingIntervalMs: 250,
  peerAckTimeoutMs: 2_000,
  peerIdleTimeoutMs: 5_000,
  peerConnectionCountMax: 256,
  refusalSizeBytesMax: 4 * kib,
  formationSizeBytesMax: 64 * kib,
  formationTimeoutMs: 2_000,
  snapshotStallTimeoutMs: 10_000,
  snapshotFinishTimeoutMs: 120_000,
  reconnectDelayMsMin: 20,
  reconnectDelayMsMax: 1_000,
  snapshotBlockSizeBytesMax: 256 * kib,
  /** Of all snapshots that leave a node together; less while its event loop is late. */
  snapshotBytesPerSecondMax: 64 * mib,
  snapshotBytesPerSecondMin: 28 * mib,
  /** Leaves at once when it could have left before, but the event loop or a disk was late. */
  snapshotBurstSizeBytesMax: 1 * mib,
  snapshotIdSizeBytesMax: 64,
  /** So long what is left of a broken stream waits for the next one, on either side. */
  snapshotResumeTimeoutMs: 60_000,

  // Storage.
  walSegmentSizeBytes: 16 * mib,
  walBatchSizeBytesMax: 4 * mib,
  walSyncMarkDelayMs: 100,
  /** Of entries in memory that this node has yet to apply, or to send, and that are durable. */
  logTailSizeBytesMax: 16 * mib,
  /** Closed segments of the log behind the checkpoint; see storage/log-retention.ts. */
  logRetentionSizeBytesMax: 256 * mib,
  /** The same while a member needs them. */
  logHeldSizeBytesMax: 1024 * mib,
  logRetentionAgeMs: 24 * 60 * 60_000,
  /** An idle node looks so often whether its log has become old. */
  logReleaseIntervalMs: 60_000,
  overlayRecordCountTarget: 48_000,
  overlaySizeBytesTarget: 16 * mib,
  overlaySizeBytesMax: 128 * mib,
  checkpointIntervalMs: 1_000,
  /** Between two checkpoints under load, when the overlay is large already. */
  checkpointIntervalMsMin: 500,
  /** A smaller checkpoint file is not worth shrinking. */
  shrinkSizeBytesMin: 64 * mib,
  /** A start waits while so much is copied; a larger checkpoint is shrunk while the node runs. */
  shrinkAtStartSizeBytesMax: 256 * mib,
  /** What a copy leaves free on the disk: the log must not stand still for it. */
  shrinkReserveSizeBytes: 256 * mib,
  /** So long and so large a checkpoint may wait for a copy. After that the copy is given up. */
  shrinkDurationMsMax: 5 * 60_000,
  shrinkOverlaySizeBytesMax: 64 * mib,
  /** By which the log may have grown meanwhile. */
  shrinkLogSizeBytesMax: 128 * mib,
  /** Between two attempts; doubled with every attempt that came to nothing. */
  shrinkIntervalMsMin: 60_000,
  shrinkIntervalMsMax: 60 * 60_000,

  // The state machine. One command looks at and answers with so much at most.
  commandScanKeyCountMax: 100_000,
  resultSizeBytesMax: 8 * mib,
  /** Of the log's time, which may run a tenth too fast: ten minutes and more. */
  idempotencyAgeMs: 11 * 60_000,
  idempotencySizeBytesMax: 64 * mib,
  /** Of the log's time, as above: an hour and more without a command. */
  sessionAgeMs: 66 * 60_000,
  sessionCountMax: 100_000,
  /** Those closed within their age included. */
  sessionQueueCountMax: 2_000_000,
  /** Numbers of one session beyond the one whose answer was acknowledged last. */
  sessionWindow: 1_024,
  sessionAnswersSizeBytesMax: 64 * mib,
  /** Of each of the two, idempotency keys and sessions, for answers without values. */
  keptAnswersReserveSizeBytes: 16 * mib,
  historyAgeMs: 60 * 60_000,
  historySizeBytesMax: 1024 * mib,
  /** Of history between two samples of the time index, and what compactions go by. */
  historySampleSizeBytes: 256 * kib,
  /**
   * An event carries the before image of its key when the event before it lies more revisions back
   * and its value is no larger (kv/event-row.ts). The first belongs to the format of the rows: what
   * is removed relies on what was written.
   */
  nearRevisionCount: 256,
  /** With two such values and a key of 144 bytes an event still lies on a page of others. */
  beforeImageSizeBytesMax: 896,
  /** What a small checkpoint looks at of the history that may go; large rows count for several. */
  pruneRowCountMax: 96_000,

  // Leases. Those that expire are revoked so many at a time; writes wait behind them.
  leaseCountMax: 1_000_000,
  leaseRevokeCountMax: 128,
  /** Of one lease, and of those revoked by one command together: they go in one revision. */
  leaseKeyCountMax: 100_000,
  /** An expired lease with fewer keys is revoked together with others up to so many. */
  leaseRevokeKeyCountTarget: 10_000,
  leaseTtlMsMin: 100,
  leaseTtlMsMax: 1e12,
  leaseKeysShownMax: 10_000,

  // Watches on one node. A watcher that takes nothing for so long, or stays so long behind what
  // the node applies, is ended. A quiet one hears twice as often as promised how far it is.
  watchCountMax: 10_000,
  /** Of one revision told at once, and waiting at most for one that reads slowly. */
  watchRunSizeBytesMax: 64 * kib,
  watchStallMs: 5_000,
  watchLagMs: 10_000,
  watchProgressMs: 6_000,

  // HTTP (reliability: slow and hostile clients).
  httpHeaderSizeBytesMax: 8 * kib,
  httpHeaderCountMax: 64,
  httpHeadersTimeoutMs: 10_000,
  httpRequestTimeoutMs: 30_000,
  httpKeepAliveTimeoutMs: 65_000,
  httpIdleTimeoutMs: 70_000,
  httpConnectionsCheckingIntervalMs: 1_000,
  httpConnectionCountMax: 10_000,
  /** Besides those: connections to peers, the files of the store, threads. */
  ownOpenFileCountMax: 512,
  plainRequestSizeBytesMax: 64 * kib,
  httpTurnSizeBytesMax: 1 * mib,
  httpResponseBufferSizeBytesMax: 16 * mib,
  httpBufferSizeBytesTotalMax: 512 * mib,
  httpLingerSizeBytesMax: 16 * mib,
  httpLingerTimeoutMs: 2_000,
} as const;
