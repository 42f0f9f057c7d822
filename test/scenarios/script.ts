/**
 * Protocol scenarios: text in, transcript out. A scenario is comments (`#`), commands (`> …`) and,
 * under each command, what it printed, indented by two spaces. `runScenario` performs the commands
 * on a fresh MemoryCluster and returns the same text with the output as it is now.
 *
 *   > add-nodes 1,2,3 [learners=4] [outsiders=5]   start members, and nodes without a membership
 *   > options appendSizeBytesMax=64 …              before add-nodes
 *   > campaign 1          > tick 1 20          > step-down 1       > transfer 1 2
 *   > propose 1 text      > propose-bytes 1 100 (size)             > read 1 7 (context)
 *   > propose-members 1 2,3 [learners=4]
 *   > process 1           take one Ready, print it, leave the disk alone
 *   > persist 1 [2]       writes are durable: all, or up to a sequence
 *   > deliver 2 [from]    hand over what is on the way to 2
 *   > drop 2 [from]       lose it
 *   > stabilize           disks and network work until all is quiet
 *   > isolate 3    > heal    > crash 2    > restart 2    > compact 1 5    > unreachable 1 2
 *   > status       > log 1      > applied 1
 *
 * `quietly` before a command suppresses its output.
 */
import {must} from '../../src/base/assert.ts';
import {
  describeEntry,
  describeMembership,
  describeMessage,
  describeReady,
} from '../../src/raft/describe.ts';
import type {NodeId} from '../../src/raft/ids.ts';
import {nodeId} from '../../src/raft/ids.ts';
import type {Message} from '../../src/raft/message.ts';
import type {ClusterOptions} from '../../src/raft/testing/memory-cluster.ts';
import {MemoryCluster, testMembership} from '../../src/raft/testing/memory-cluster.ts';

export function runScenario(text: string): string {
  const run = new ScenarioRun();
  const lines: string[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('  ')) continue;
    lines.push(line);
    if (line.startsWith('> ')) lines.push(...run.perform(line.slice(2)).map(out => `  ${out}`));
  }
  return lines.join('\n');
}

class Arguments {
  readonly #words: readonly string[];

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  /** Positional, 0 is the first after the command. */
  text(place: number): string {
    return must(this.optional(place), `argument ${place + 1} is missing`);
  }

  optional(place: number): string | undefined {
    return this.#words.filter(word => !word.includes('='))[place];
  }

  id(place: number): NodeId {
    return nodeId(this.text(place));
  }

  number(place: number): number {
    return Number(this.text(place));
  }

  list(name: string): string[] {
    const word = this.#words.find(candidate => candidate.startsWith(`${name}=`));
    return word === undefined ? [] : word.slice(name.length + 1).split(',');
  }

  named(): Record<string, number> {
    const pairs = this.#words.filter(word => word.includes('=')).map(word => word.split('='));
    return Object.fromEntries(pairs.map(([name = '', value]) => [name, Number(value)]));
  }
}

type Command = (args: Arguments) => string[];

class ScenarioRun {
  #cluster = new MemoryCluster();
  readonly #commands: Readonly<Record<string, Command>> = {
    ...this.#setUp(),
    ...this.#inputs(),
    ...this.#effects(),
    ...this.#queries(),
  };

  perform(line: string): string[] {
    const [first = '', ...words] = line.trim().split(/\s+/);
    if (first === 'quietly') {
      this.perform(words.join(' '));
      return [];
    }
    const command = must(this.#commands[first], `unknown command: ${line}`);
    return command(new Arguments(words));
  }

  #setUp(): Record<string, Command> {
    return {
      options: args => {
        const options: ClusterOptions = args.named();
        this.#cluster = new MemoryCluster(options);
        return [];
      },
      'add-nodes': args => {
        const voters = args.text(0).split(',');
        const membership = testMembership({voters, learners: args.list('learners')});
        this.#cluster.start(membership, args.list('outsiders').map(nodeId));
        return [];
      },
    };
  }

  #inputs(): Record<string, Command> {
    const raft = (args: Arguments) => this.#cluster.raft(args.id(0));
    const print = (result: unknown): string[] => [JSON.stringify(result)];
    return {
      campaign: args => {
        raft(args).campaign();
        return [];
      },
      tick: args => {
        this.#cluster.tick(args.id(0), args.number(1));
        return [];
      },
      propose: args => print(raft(args).propose(new TextEncoder().encode(args.text(1)), 0)),
      'propose-bytes': args => print(raft(args).propose(new Uint8Array(args.number(1)), 0)),
      'propose-members': args => {
        const voters = args.text(1).split(',');
        const next = testMembership({voters, learners: args.list('learners')});
        return print(raft(args).proposeMembership(next, 0));
      },
      read: args => (raft(args).readIndex(args.number(1)) ? [] : ['nobody to ask']),
      transfer: args => (raft(args).transferLeadership(args.id(1)) ? [] : ['refused']),
      'step-down': args => {
        raft(args).stepDown();
        return [];
      },
      unreachable: args => {
        raft(args).reportUnreachable(args.id(1));
        return [];
      },
    };
  }

  #effects(): Record<string, Command> {
    const cluster = () => this.#cluster;
    const silent = (action: (id: NodeId) => void) => (args: Arguments) => {
      action(args.id(0));
      return [];
    };
    return {
      process: args => {
        const ready = cluster().process(args.id(0));
        return ready === null ? ['nothing to do'] : describeReady(ready);
      },
      persist: args => {
        const sequence = args.optional(1);
        const done = cluster().persist(
          args.id(0),
          sequence === undefined ? Infinity : Number(sequence),
        );
        return done === null ? ['nothing to write'] : [];
      },
      deliver: args => this.#pass(args, message => cluster().deliver(message)),
      drop: args => this.#pass(args, message => cluster().drop(message)),
      stabilize: () => {
        const lines: string[] = [];
        cluster().stabilize((node, ready) => {
          lines.push(...describeReady(ready).map(line => `${node.id}| ${line}`));
        });
        return lines;
      },
      isolate: silent(id => cluster().isolate(id)),
      crash: silent(id => cluster().crash(id)),
      restart: silent(id => cluster().restart(id)),
      heal: () => {
        cluster().heal();
        return [];
      },
      compact: args => {
        cluster().compact(args.id(0), args.number(1));
        return [];
      },
    };
  }

  #queries(): Record<string, Command> {
    return {
      status: () => [...this.#cluster.nodes.keys()].map(id => this.#describeNode(id)),
      applied: args => [this.#cluster.appliedCommands(args.id(0)).join(' ')],
      log: args => {
        const {log} = this.#cluster.raft(args.id(0)).inspect();
        const range = {from: log.firstIndex, to: log.lastIndex, sizeBytesMax: Infinity};
        return range.from > range.to ? ['empty'] : log.entries(range).map(describeEntry);
      },
    };
  }

  #pass(args: Arguments, action: (message: Message) => void): string[] {
    const from = args.optional(1);
    const matching = this.#cluster.messages.filter(message => {
      return message.to === args.id(0) && (from === undefined || message.from === from);
    });
    const lines = matching.map(describeMessage);
    matching.forEach(action);
    return lines.length === 0 ? ['nothing on the way'] : lines;
  }

  #describeNode(id: NodeId): string {
    const {raft, isUp} = this.#cluster.node(id);
    if (!isUp) return `${id} down`;
    const {role, term, leaderId, lastIndex, stableIndex, commitIndex, appliedIndex} = raft;
    const head = `${id} ${role} term=${term} leader=${leaderId ?? 'none'}`;
    const indexes = `last=${lastIndex} stable=${stableIndex} commit=${commitIndex}`;
    const rest = `applied=${appliedIndex} ${describeMembership(raft.membership)}`;
    return `${head} ${indexes} ${rest}${this.#describeProgress(id)}`;
  }

  #describeProgress(id: NodeId): string {
    let text = '';
    for (const peer of this.#cluster.nodes.keys()) {
      const progress = this.#cluster.raft(id).progress(peer);
      if (progress === undefined) continue;
      text += ` [${peer} ${progress.state} match=${progress.matchIndex} next=${progress.nextIndex}]`;
    }
    return text;
  }
}
