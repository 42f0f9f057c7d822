/** What every measurement is given: the options, a place on the disk, and a voice. */
import {mkdtempSync} from 'node:fs';
import path from 'node:path';
import type {BenchOptions} from '../bench-options.ts';
import type {ProgramName} from '../systems/program-path.ts';
import type {RosettaOptions} from '../systems/rosetta-cluster.ts';
import {RosettaCluster} from '../systems/rosetta-cluster.ts';

export class BenchContext {
  readonly options: BenchOptions;
  readonly scratchDirectory: string;
  /** Null without --profile. */
  readonly profileDirectory: string | null;
  readonly #missing: ReadonlySet<ProgramName>;

  constructor(fields: {
    readonly options: BenchOptions;
    readonly scratchDirectory: string;
    readonly profileDirectory: string | null;
    readonly missing: ReadonlySet<ProgramName>;
  }) {
    this.options = fields.options;
    this.scratchDirectory = fields.scratchDirectory;
    this.profileDirectory = fields.profileDirectory;
    this.#missing = fields.missing;
  }

  has(...programs: readonly ProgramName[]): boolean {
    return programs.every(name => !this.#missing.has(name));
  }

  directory(name: string): string {
    return mkdtempSync(path.join(this.scratchDirectory, `${name}-`));
  }

  say(line: string): void {
    process.stdout.write(`${line}\n`);
  }

  rosetta(fields: Partial<RosettaOptions> = {}): Promise<RosettaCluster> {
    const {profileDirectory} = this;
    const directory = this.directory('rosetta');
    return RosettaCluster.create({nodeCount: 3, directory, profileDirectory, ...fields});
  }
}
