/**
 * Shows that the simulator sees: puts one known bug after the other into a copy of the built files
 * and counts the seeds until a check objects. Production code carries no switch for it.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {runSeeds, survives} from '../seed-pool.ts';
import {runOnce} from '../shrink.ts';
import type {Overrides} from '../swarm.ts';
import type {SeedReport} from '../worker.ts';
import type {Mutant} from './mutants.ts';
import {mutants} from './mutants.ts';

/** `dist`, or wherever this was built to. */
const builtFolder = fileURLToPath(new URL('../../..', import.meta.url));

export interface MutantPlan {
  /** Null: all of them. */
  readonly name: string | null;
  readonly first: number;
  readonly seedCountMax: number;
  readonly jobCount: number;
  readonly overrides: Overrides;
  readonly say: (text: string) => void;
}

/** False when one of them was not found. */
export async function runMutants(plan: MutantPlan): Promise<boolean> {
  const chosen = mutants.filter(({name}) => plan.name === null || name === plan.name);
  if (chosen.length === 0) {
    plan.say(`no such mutant; there are:\n${mutants.map(({name}) => `  ${name}\n`).join('')}`);
    return false;
  }
  let areAllFound = true;
  for (const mutant of chosen) {
    const found = await hunt(mutant, plan);
    areAllFound &&= found !== null;
    const verdict =
      found === null
        ? `NOT FOUND in ${plan.seedCountMax} seeds`
        : `${String(found.seedCount).padStart(4)} seeds  ${found.check}`;
    plan.say(`${mutant.name.padEnd(44)} ${verdict}\n`);
    if (found !== null && plan.name !== null) plan.say(`  ${found.message}\n`);
  }
  return areAllFound;
}

/** A mutant that ends so many processes is no program any more. */
const deathCountMax = 10;

interface Found {
  readonly seedCount: number;
  readonly check: string;
  readonly message: string;
}

async function hunt(mutant: Mutant, plan: MutantPlan): Promise<Found | null> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-mutant-'));
  try {
    copyBuild(folder);
    for (const file of applyMutant(folder, mutant)) fs.accessSync(file);
    let seed = plan.first;
    let deathCount = 0;
    const failures: SeedReport[] = [];
    const mayGoOn = (): boolean =>
      failures.length === 0 && deathCount < deathCountMax && seed < plan.first + plan.seedCountMax;
    await runSeeds({
      workerFile: path.join(folder, 'test', 'sim', 'worker.js'),
      jobCount: plan.jobCount,
      overrides: plan.overrides,
      next: () => (mayGoOn() ? seed++ : null),
      onReport: report => {
        if (report.violation?.check === survives) deathCount++;
        if (hasSeen(report, plan.overrides)) failures.push(report);
      },
    });
    failures.sort((a, b) => a.seed - b.seed);
    const violation = failures[0]?.violation ?? null;
    if (violation === null) return null;
    return {seedCount: (failures[0]?.seed ?? 0) - plan.first + 1, ...violation};
  } finally {
    fs.rmSync(folder, {recursive: true, force: true});
  }
}

/**
 * Whether a check objected, and to the mutant: not when its text does not even load, nor when the
 * seed fails without it as well.
 */
export function hasSeen(
  {seed, violation}: Pick<SeedReport, 'seed' | 'violation'>,
  overrides: Overrides,
): boolean {
  if (violation === null || violation.check === survives) return false;
  return runOnce(seed, overrides).violation === null;
}

function copyBuild(folder: string): void {
  for (const room of ['src', 'test']) {
    fs.cpSync(path.join(builtFolder, room), path.join(folder, room), {
      recursive: true,
      filter: name => !name.endsWith('.d.ts') && !name.endsWith('.test.js'),
    });
  }
  fs.writeFileSync(path.join(folder, 'package.json'), '{"type": "module"}');
  fs.symlinkSync(findModules(), path.join(folder, 'node_modules'));
}

function findModules(): string {
  for (let folder = builtFolder; ; folder = path.dirname(folder)) {
    const modules = path.join(folder, 'node_modules');
    if (fs.existsSync(modules)) return modules;
    if (folder === path.dirname(folder)) throw new Error(`no node_modules above ${builtFolder}`);
  }
}

/** Each `find` must occur exactly once: a mutant that fits nowhere proves nothing. */
function applyMutant(folder: string, mutant: Mutant): string[] {
  return mutant.edits.map(({file, find, replace}) => {
    const target = path.join(folder, 'src', file.replace(/\.ts$/, '.js'));
    const text = fs.readFileSync(target, 'utf8');
    const parts = text.split(find);
    if (parts.length !== 2) {
      throw new Error(`mutant ${mutant.name}: ${file} has ${parts.length - 1} times: ${find}`);
    }
    fs.writeFileSync(target, parts.join(replace));
    return target;
  });
}
