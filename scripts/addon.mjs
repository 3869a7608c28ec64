/**
 * The addon: native/*.c -> one file, with any C compiler. Imports only `node:` modules, since it runs
 * before there are others, also where weft was installed as a package.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';

/** Where weft looks for its addon, below native/: what was built here, then what came with a package. */
export const BUILT = 'build/weft.node';
export const prebuilt = (arch) => `prebuilt/linux-${arch}.node`;

/** Everything that the addon is made of. */
export function addonSources(native) {
  return fs
    .readdirSync(native)
    .filter((name) => /\.[ch]$/.test(name))
    .map((name) => path.join(native, name))
    .sort();
}

/** The program and the words before its flags, of a compiler that may be either (`ccache gcc -m64`). */
export function compilerWords(text = '') {
  const words = text
    .trim()
    .split(/\s+/)
    .filter((word) => word !== '');
  return words.length === 0 ? ['cc'] : words;
}

/**
 * musl-gcc, a compiler for musl on a system of glibc, is left without the kernel's headers: they are found
 * after all of its own.
 */
export function kernelHeaders(program) {
  if (!/(?:^|-)musl-gcc$/.test(path.basename(program))) return [];
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch];
  return ['/usr/include', `/usr/include/${machine}-linux-gnu`].flatMap((folder) => [
    '-idirafter',
    folder,
  ]);
}

/** For `unfit`: an addon for another C library than Node's, told by src/dataplane/io/c-library.ts as it is compiled. */
export function otherLibrary(compiler, { mismatch, COMPILERS }) {
  return (file) => {
    const other = mismatch(file);
    if (other === undefined) return undefined;
    const cure = `it takes ${COMPILERS[other.node]}`;
    return `${compiler} builds for ${other.addon}, and this Node is built for ${other.node}: ${cure}`;
  };
}

/**
 * Builds it into `file`, whole or not at all. `compiler` may be a program with arguments
 * (`gcc -m64`); `headers` is the folder that holds node_api.h; `unfit` looks at what was built and gives
 * why it is of no use here. Gives why it could not, or undefined.
 */
export function buildAddon({ native, headers, compiler, file, warnings = [], unfit = () => {} }) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}`;
  const [program, ...words] = compilerWords(compiler);
  const flags = ['-std=gnu11', '-O2', '-g', ...warnings, '-shared', '-fPIC'];
  // The same source makes the same bytes, wherever it lies.
  const same = [path.resolve(native), process.cwd()].map(
    (folder, i) => `-ffile-prefix-map=${folder}=${['native', '.'][i]}`,
  );
  const sources = addonSources(native).filter((name) => name.endsWith('.c'));
  const done = spawnSync(
    program,
    [
      ...[...words, ...flags, ...same, '-DNAPI_VERSION=8', `-I${headers}`],
      ...[...kernelHeaders(program), '-o', temporary, ...sources],
    ],
    { stdio: ['ignore', 2, 2] },
  );
  if (done.error === undefined && done.status === 0) {
    const why = unfit(temporary);
    if (why === undefined) fs.renameSync(temporary, file);
    else fs.rmSync(temporary);
    return why;
  }
  fs.rmSync(temporary, { force: true });
  if (done.error?.code === 'ENOENT') {
    return (
      `there is no C compiler ${program}; install one and the C library's headers ` +
      '(Debian: gcc libc6-dev, for musl-gcc musl-tools; Alpine: gcc musl-dev linux-headers), or name another in CC'
    );
  }
  return `${compiler} could not build it (${done.error?.message ?? `exit ${done.status ?? done.signal}`}; its messages stand above)`;
}
