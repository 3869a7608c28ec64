/**
 * The C library that Node runs on, and the one that an addon was built for. musl answers to any name of
 * a C library, so that it loads an addon built for glibc, which then goes by structures and calls of
 * another: what is seen here is refused before it is loaded. The set-up asks the same, of what it built.
 */
import fs from 'node:fs';

export type CLibrary = 'glibc' | 'musl';

/** What to build with, by the C library that is needed; to stand in a sentence. */
export const COMPILERS: Readonly<Record<CLibrary, string>> = {
  glibc: 'a compiler for glibc, as CC=gcc (Debian: gcc libc6-dev)',
  musl:
    'a compiler for musl: on Alpine its own (apk add gcc musl-dev linux-headers), on a system of glibc ' +
    'CC=musl-gcc (Debian: musl-tools)',
};

/** In /proc/self/maps, a file a line; glibc before 2.34 has its version in the name. */
const GLIBC_MAPPED = /\/libc(?:\.so\.6|-2\.\d+\.so)(?: \(deleted\))?$/m;
const MUSL_MAPPED = /\/(?:ld-musl-[\w-]+\.so\.1|libc\.so)(?: \(deleted\))?$/m;

/** This process's; undefined where it cannot be told, as of a Node that has it inside. */
export function cLibraryOfNode(maps = readMaps()): CLibrary | undefined {
  if (GLIBC_MAPPED.test(maps)) return 'glibc';
  return MUSL_MAPPED.test(maps) ? 'musl' : undefined;
}

/** `process.report` would tell, too, but looks at all of the process for it, and may be left out of Node. */
function readMaps(): string {
  try {
    return fs.readFileSync('/proc/self/maps', 'utf8');
  } catch {
    return '';
  }
}

/** By the library that it asks the loader for; undefined where it asks for none that is known. */
export function cLibraryOf(addon: Buffer): CLibrary | undefined {
  if (addon.includes('\0libc.so.6\0')) return 'glibc';
  return addon.includes('\0libc.so\0') || addon.includes('\0libc.musl-') ? 'musl' : undefined;
}

export interface Mismatch {
  readonly addon: CLibrary;
  readonly node: CLibrary;
}

/** Which two, where this file was built for another C library than Node runs on; else undefined. */
export function mismatch(file: string, node = cLibraryOfNode()): Mismatch | undefined {
  if (node === undefined || !fs.existsSync(file)) return undefined;
  const addon = cLibraryOf(fs.readFileSync(file));
  return addon === undefined || addon === node ? undefined : { addon, node };
}
