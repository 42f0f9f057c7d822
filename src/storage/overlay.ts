/** Placeholder shape for the interface between overlay and checkpoint; see storage/overlay. */
export interface FrozenOverlay {
  readonly recordCount: number;
}
