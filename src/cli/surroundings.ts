/**
 * Takes from the one who started weft what would hinder it later, so that it does not depend on
 * where it was started and how.
 */
import path from 'node:path';
import { type Flags, UsageError } from './flags.js';

/** Flags that name a file. */
const FILES = [
  'subnet-file',
  'store-file',
  'etcd-cafile',
  'etcd-certfile',
  'etcd-keyfile',
  'etcd-password-file',
];

/** The path from the root on. Throws a UsageError where the working directory is gone. */
export function absolute(file: string, flag: string): string {
  if (path.isAbsolute(file)) return path.normalize(file);
  try {
    return path.resolve(file);
  } catch {
    throw new UsageError(
      `${flag}=${file}: the working directory is gone, so give the path from / on`,
    );
  }
}

/** The same flags, with the paths of files from the root on. Throws a UsageError. */
export function withPaths(flags: Flags): Flags {
  const paths = new Map(
    FILES.flatMap((name) => {
      const given = flags.text(name);
      return given === '' ? [] : [[name, absolute(given, `-${name}`)] as const];
    }),
  );
  return { ...flags, text: (name) => paths.get(name) ?? flags.text(name) };
}

/**
 * A working directory may be unmounted or deleted, and then no thread starts in it. A umask may
 * make weft's files unreadable to it, or writable for all. With a limit on the size of files a
 * signal would be the end, in place of an error for the one that is written.
 */
export function beAtHomeAnywhere(): void {
  process.chdir('/');
  process.umask(0o022);
  process.on('SIGXFSZ', () => {});
}
