/** Builds the C programs of the bench: `bench/c/*.c` -> `dist/bench/`. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** Each program and the files it is made of. */
const PROGRAMS = {
  limit: ['limit.c', 'outbound.c', 'inbound.c', 'vtep.c', 'checksum.c'],
  'one-packet': ['one-packet.c', 'vtep.c'],
  'udp-flood': ['udp-flood.c'],
  'request-response': ['request-response.c'],
} as const;

export type Program = keyof typeof PROGRAMS;

/** The path of each built program. */
export type Programs = Readonly<Record<Program, string>>;

const FLAGS = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror'];

// This file runs as dist/bench/build-c.js.
const OUTPUT = path.dirname(fileURLToPath(import.meta.url));
const SOURCES = path.resolve(OUTPUT, '../../bench/c');

/** What is missing for building, as one line that says what to do; undefined when nothing. */
export function buildLacks(): string | undefined {
  const tried = spawnSync('cc', ['--version'], { stdio: 'ignore' });
  return tried.status === 0 ? undefined : 'the C programs of the bench need cc: install gcc';
}

/** Builds what is older than its sources. Throws with the compiler's words when that fails. */
export function buildPrograms(): Programs {
  fs.mkdirSync(OUTPUT, { recursive: true });
  const newest = Math.max(...fs.readdirSync(SOURCES).map((file) => modified(SOURCES, file)));
  const built = Object.entries(PROGRAMS).map(([name, files]) => {
    const output = path.join(OUTPUT, name);
    if (!fs.existsSync(output) || modified(OUTPUT, name) < newest) compile(output, files);
    return [name, output];
  });
  return Object.fromEntries(built) as Programs;
}

function compile(output: string, files: readonly string[]): void {
  const sources = files.map((file) => path.join(SOURCES, file));
  const done = spawnSync('cc', [...FLAGS, '-o', output, ...sources], { encoding: 'utf8' });
  if (done.error) throw new Error(`cc could not be started: ${done.error.message}; install gcc`);
  if (done.status !== 0) throw new Error(`cc could not build ${output}:\n${done.stderr}`);
}

function modified(directory: string, file: string): number {
  return fs.statSync(path.join(directory, file)).mtimeMs;
}
