/** Root folders for images: programs of this machine, with the libraries that they need. */
import fs from 'node:fs';
import path from 'node:path';
import { run } from './command.js';
import { findProgram } from './enter.js';

export interface Image {
  /** Programs by name; each is there as /bin/NAME. busybox brings its commands along. */
  readonly programs: readonly string[];
  /** More files, by their path in the image; all may be run. */
  readonly files?: Readonly<Record<string, string>>;
}

/** Fills `folder` and packs it as `<folder>.tar`, the path of which is returned. */
export async function packImage(folder: string, image: Image): Promise<string> {
  for (const name of ['bin', 'etc', 'proc', 'sys', 'dev']) {
    fs.mkdirSync(path.join(folder, name), { recursive: true });
  }
  fs.mkdirSync(path.join(folder, 'tmp'), { recursive: true });
  fs.chmodSync(path.join(folder, 'tmp'), 0o1777);
  for (const name of image.programs) {
    const program = findProgram(name);
    if (program === undefined) throw new Error(`${name} is not installed`);
    fs.copyFileSync(program, path.join(folder, 'bin', name));
    for (const library of await librariesOf(program)) {
      fs.mkdirSync(path.join(folder, path.dirname(library)), { recursive: true });
      fs.copyFileSync(library, path.join(folder, library));
    }
    if (name === 'busybox') await linkCommands(program, path.join(folder, 'bin'));
  }
  for (const [file, text] of Object.entries(image.files ?? {})) {
    fs.mkdirSync(path.join(folder, path.dirname(file)), { recursive: true });
    fs.writeFileSync(path.join(folder, file), text, { mode: 0o755 });
  }
  const tar = `${folder}.tar`;
  await run(['tar', '-C', folder, '-cf', tar, '.']);
  return tar;
}

/**
 * What `ldd` names: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux-….so.2 (0x…)`.
 * And what it does not: the library that libc itself opens when a thread is cancelled.
 */
async function librariesOf(program: string): Promise<string[]> {
  const { stdout } = await run(['ldd', program], { mayFail: true }); // fails for a static program
  const named = [...stdout.matchAll(/(?:=>|^)\s+(\/\S+) \(0x/gm)].map(([, library]) => library!);
  const unwinders = named
    .filter((library) => path.basename(library) === 'libc.so.6')
    .map((libc) => path.join(path.dirname(libc), 'libgcc_s.so.1'));
  return [...named, ...unwinders.filter((file) => fs.existsSync(file))];
}

async function linkCommands(busybox: string, folder: string): Promise<void> {
  const { stdout } = await run([busybox, '--list']);
  for (const name of stdout.split('\n')) {
    if (name !== '' && name !== 'busybox') fs.symlinkSync('busybox', path.join(folder, name));
  }
}
