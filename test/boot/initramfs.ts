/**
 * The guest's file system: what of this host it needs, packed as the archive the kernel unpacks
 * into memory when it starts (cpio in its "newc" form, see `driver-api/early-userspace/
 * buffer-format` in the kernel's documentation).
 *
 * Not compressed: an emulated processor takes longer to unpack it than to copy it.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

/** The guest's path of a file, without the leading slash, to the host's file it is a copy of. */
export type Files = Map<string, string>;

/** Adds a program under `guestPath`, and the shared libraries `ldd` names, where it names them. */
export function addProgram(files: Files, guestPath: string, hostPath: string): void {
  files.set(guestPath, hostPath);
  const libraries = spawnSync('ldd', [hostPath], { encoding: 'utf8' });
  for (const [, library] of (libraries.stdout ?? '').matchAll(/(\/\S+) \(0x/g)) {
    files.set(library!.slice(1), library!);
  }
}

/** Adds a folder with all that is below it. */
export function addFolder(files: Files, guestPath: string, hostPath: string): void {
  for (const entry of fs.readdirSync(hostPath, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    files.set(path.join(guestPath, path.relative(hostPath, file)), file);
  }
}

/** Adds what `npm ci --omit=dev` would install, by the word of the lock file. */
export function addProductionPackages(files: Files, guestPath: string, root: string): void {
  const lock: unknown = JSON.parse(fs.readFileSync(path.join(root, 'package-lock.json'), 'utf8'));
  const { packages } = lock as { packages: Record<string, { dev?: boolean }> };
  for (const [name, { dev }] of Object.entries(packages)) {
    const home = path.join(root, name);
    if (name === '' || dev === true || !fs.existsSync(home)) continue;
    addFolder(files, path.join(guestPath, name), home);
  }
}

/**
 * Adds the named modules under `modules/` in the guest, and before each those it needs; returns
 * the order in which to insert them. What a module needs stands in the module itself, since the
 * index that `depmod` makes is not part of the kernel's package.
 */
export function addModules(files: Files, folder: string, names: string[]): string[] {
  const found = new Map<string, string>();
  for (const entry of fs.readdirSync(folder, { recursive: true })) {
    const file = String(entry);
    if (file.endsWith('.ko')) found.set(path.basename(file, '.ko'), path.join(folder, file));
  }
  const order: string[] = [];
  const add = (name: string): void => {
    const file = found.get(name);
    if (file === undefined) throw new Error(`no module ${name}.ko below ${folder}`);
    if (order.includes(name)) return;
    const needs = /\0depends=([^\0]*)\0/.exec(fs.readFileSync(file, 'latin1'))?.[1] ?? '';
    for (const need of needs.split(',').filter((word) => word !== '')) add(need);
    files.set(`modules/${name}.ko`, file);
    order.push(name);
  };
  for (const name of names) add(name);
  return order;
}

/** Writes the archive. Folders come before what is in them, as the kernel wants it. */
export function writeArchive(file: string, files: Files): void {
  const out = fs.openSync(file, 'w');
  try {
    const folders = new Set<string>();
    let inode = 0;
    const write = (name: string, mode: number, content: Buffer): void => {
      inode += 1;
      fs.writeFileSync(out, header(inode, mode, content.length, name));
      fs.writeFileSync(out, content);
      fs.writeFileSync(out, Buffer.alloc(-content.length & 3));
    };
    const writeFolder = (name: string): void => {
      if (name === '.' || folders.has(name)) return;
      writeFolder(path.dirname(name));
      write(name, 0o040755, Buffer.alloc(0));
      folders.add(name);
    };
    for (const [name, source] of files) {
      writeFolder(path.dirname(name));
      write(name, 0o100755, fs.readFileSync(source));
    }
    write('TRAILER!!!', 0, Buffer.alloc(0));
  } finally {
    fs.closeSync(out);
  }
}

/** 110 bytes of magic and thirteen numbers in hexadecimal, the name, zeros up to a multiple of 4. */
function header(inode: number, mode: number, size: number, name: string): Buffer {
  const links = 1;
  const nameSize = Buffer.byteLength(name) + 1;
  const numbers = [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, nameSize, 0];
  const hex = numbers.map((number) => number.toString(16).padStart(8, '0')).join('');
  const head = Buffer.from(`070701${hex}${name}\0`);
  return Buffer.concat([head, Buffer.alloc(-head.length & 3)]);
}
