/**
 * The control groups of a lab. A Docker engine makes one a container, and they are the one thing
 * of a lab that does not vanish with its last process. So the engines put them all below one
 * group named after the lab, and a guard outside of the lab removes it: this program, which waits
 * for the end of its standard input, hence of the lab's script, however that ended.
 *
 *   node cgroups.js weft-lab-1234
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(import.meta.url);

/** The group of the lab with this number, below the root of every hierarchy. */
export function cgroupOf(lab: string): string {
  return `weft-lab-${lab}`;
}

export interface Guard {
  /** Removes the group of a lab that has ended, and ends the guard. */
  finish(): Promise<void>;
}

/** Starts the guard of a group; in a session of its own, so that Ctrl-C does not reach it. */
export function guardCgroup(name: string): Guard {
  const guard = spawn(process.execPath, [PROGRAM, name], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  guard.on('error', () => {}); // without it the group is removed by `finish` alone
  guard.stdin.on('error', () => {});
  guard.unref();
  return {
    async finish() {
      await removeWithin(name, 5_000);
      guard.kill('SIGKILL');
    },
  };
}

/** Where the group is in each hierarchy of this machine, of version 1 and 2. */
export function cgroupFolders(name: string): string[] {
  const mounts = fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const points = mounts
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(' ')[4]);
  return points.map((point) => `${point}/${name}`).filter((folder) => fs.existsSync(folder));
}

/** Removes the group; waits up to `ms` for the processes in it to be gone. True when it is gone. */
async function removeWithin(name: string, ms: number): Promise<boolean> {
  const deadline = Date.now() + ms;
  for (;;) {
    for (const folder of cgroupFolders(name)) remove(folder);
    if (cgroupFolders(name).length === 0) return true;
    if (Date.now() > deadline) return false;
    await sleep(20);
  }
}

/** A group with all below it; what still holds a process stays. */
function remove(folder: string): void {
  try {
    for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) remove(`${folder}/${entry.name}`);
    }
    fs.rmdirSync(folder);
  } catch {
    // Busy, or gone meanwhile: the caller looks again.
  }
}

if (process.argv[1] === PROGRAM) {
  process.stdin.resume();
  await new Promise((resolve) => process.stdin.once('close', resolve));
  // The lab dies a moment after its script, and an engine may make a last group until then.
  for (let look = 0; look < 4; look += 1) {
    await removeWithin(process.argv[2]!, 30_000);
    await sleep(250);
  }
}
