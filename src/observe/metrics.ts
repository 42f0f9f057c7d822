/**
 * What a member counts about itself, as GET /metrics shows it. Events are counted as they happen;
 * everything the member knows anyway is read from it when the metrics are asked for. The names are
 * listed in docs/metrics.md, which a test compares with this file.
 */
import {LatencyHistogram} from './latency-histogram.ts';
import type {MetricsRegistry} from './metrics-registry.ts';
import type {MetricsSource} from './metrics-source.ts';

const requestName = 'rosetta_http_request_seconds';
const fsyncName = 'rosetta_wal_fsync_seconds';
const checkpointName = 'rosetta_checkpoint_seconds';

export class Metrics {
  /** By route, method and status. */
  readonly #requests = new Map<string, Map<string, Map<number, LatencyHistogram>>>();
  readonly #fsync = new LatencyHistogram();
  readonly #checkpoint = new LatencyHistogram();
  readonly #counts = {
    committed: 0,
    elections: 0,
    leaderChanges: 0,
    snapshotsSent: 0,
    snapshotsInstalled: 0,
  };
  #source: MetricsSource | null = null;
  /** Made for the first scrape. */
  #registry: MetricsRegistry | null = null;

  /** From here on the scrapes show this member. */
  bind(source: MetricsSource): void {
    this.#source = source;
  }

  /** The member stops. */
  unbind(): void {
    this.#source = null;
  }

  fsyncSeconds(seconds: number): void {
    this.#fsync.observe(seconds);
  }

  checkpointSeconds(seconds: number): void {
    this.#checkpoint.observe(seconds);
  }

  /** `route` and `method` come from fixed sets, so the number of histograms is bounded. */
  requestSeconds(route: string, method: string, status: number, seconds: number): void {
    const known = this.#requests.get(route)?.get(method)?.get(status);
    (known ?? this.#addRequestHistogram(route, method, status)).observe(seconds);
  }

  committed(entryCount: number): void {
    this.#counts.committed += entryCount;
  }

  electionStarted(): void {
    this.#counts.elections += 1;
  }

  leaderChanged(): void {
    this.#counts.leaderChanges += 1;
  }

  snapshotSent(): void {
    this.#counts.snapshotsSent += 1;
  }

  snapshotInstalled(): void {
    this.#counts.snapshotsInstalled += 1;
  }

  /** Everything in the text format of Prometheus. */
  async text(): Promise<string> {
    let requests = header(requestName, 'Time from the head of a request to the end of its answer');
    for (const [route, byMethod] of this.#requests) {
      for (const [method, byStatus] of byMethod) {
        for (const [status, histogram] of byStatus) {
          const labels = `route="${route}",method="${method}",status="${status}"`;
          requests += histogram.render(requestName, labels);
        }
      }
    }
    const {MetricsRegistry} = await import('./metrics-registry.ts');
    this.#registry ??= new MetricsRegistry(this.#counts, () => this.#source);
    return (
      (await this.#registry.text()) +
      header(fsyncName, 'Time of one fdatasync of the write-ahead log') +
      this.#fsync.render(fsyncName, '') +
      header(checkpointName, 'Time of one checkpoint') +
      this.#checkpoint.render(checkpointName, '') +
      requests
    );
  }

  #addRequestHistogram(route: string, method: string, status: number): LatencyHistogram {
    const byMethod = this.#requests.get(route) ?? new Map<string, Map<number, LatencyHistogram>>();
    this.#requests.set(route, byMethod);
    const byStatus = byMethod.get(method) ?? new Map<number, LatencyHistogram>();
    byMethod.set(method, byStatus);
    const added = new LatencyHistogram();
    byStatus.set(status, added);
    return added;
  }
}

function header(name: string, help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} histogram\n`;
}
