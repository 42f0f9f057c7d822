/**
 * The one window into a running node: the simulator's checks compare what nodes claim with what
 * they hold. A node shows its replica to nobody, so its start is observed here.
 */
import {Replica} from '../../src/node/replica.ts';

type Listener = (replica: Replica) => void;

let listener: Listener | null = null;

// Called below with the `this` it is called with here.
// eslint-disable-next-line @typescript-eslint/unbound-method
const {start} = Replica.prototype;

Replica.prototype.start = function observedStart(this: Replica): void {
  listener?.(this);
  start.call(this);
};

/** `onReplica` sees every replica just before it starts; null: nobody looks. */
export function watchReplicas(onReplica: Listener | null): void {
  listener = onReplica;
}
