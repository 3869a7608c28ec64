/**
 * The kernel weft is for: Debian 12's 6.1 for clouds, whose VXLAN is a module that can be left
 * out. Fetched with apt and unpacked into the project's cache; nothing is installed.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

/** An unpacked kernel package. */
export interface Kernel {
  /** As `uname -r` says it, such as `6.1.0-56-cloud-amd64`. */
  release: string;
  /** The compressed kernel, for `qemu -kernel`. */
  image: string;
  /** The folder that holds the modules (`kernel/drivers/net/tun.ko` and so on). */
  modules: string;
}

/** Something this test needs cannot be had here; the message says what. */
export class Unavailable extends Error {}

const packageName = /^linux-image-(6\.1\.0-(\d+)-cloud-amd64)$/;

/**
 * Returns the newest 6.1 cloud kernel apt knows, from the cache when it is there already. When
 * apt knows none or cannot fetch it, refreshes apt's lists and tries once more; after that the
 * newest kernel in the cache is taken.
 * @throws Unavailable when there is none in the cache either.
 */
export function fetchKernel(cache: string): Kernel {
  fs.mkdirSync(cache, { recursive: true });
  const why: string[] = [];
  for (const refresh of [false, true]) {
    if (refresh) run('apt-get', ['-q', 'update'], cache);
    const listed = run('apt-cache', ['pkgnames', 'linux-image-6.1.0-'], cache);
    const newest = newestFirst(listed.out.split('\n'))[0];
    if (newest === undefined) {
      why.push(listed.ok ? 'apt-cache lists no linux-image-6.1.0-…-cloud-amd64' : listed.why);
      continue;
    }
    const reason = fetchPackage(cache, newest);
    if (reason === undefined) return kernelIn(cache, newest);
    why.push(reason);
  }
  const cached = newestFirst(fs.readdirSync(cache))[0];
  if (cached !== undefined) return kernelIn(cache, cached);
  throw new Unavailable(`no Debian 6.1 cloud kernel: ${[...new Set(why)].join('; ')}`);
}

/** Downloads and unpacks into a folder of the package's name; returns why it failed, if so. */
function fetchPackage(cache: string, name: string): string | undefined {
  const home = path.join(cache, name);
  if (fs.existsSync(home)) return undefined;
  const temporary = fs.mkdtempSync(path.join(cache, 'fetch-'));
  try {
    const fetched = run('apt-get', ['-q', 'download', name], temporary);
    if (!fetched.ok) return fetched.why;
    const archive = fs.readdirSync(temporary).find((file) => file.endsWith('.deb'));
    if (archive === undefined) return `apt-get download ${name} left no package behind`;
    const unpacked = run('dpkg', ['-x', archive, 'unpacked'], temporary);
    if (!unpacked.ok) return unpacked.why;
    fs.renameSync(path.join(temporary, 'unpacked'), home);
    return undefined;
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true });
  }
}

/** Package names among `names`, highest ABI number first. */
function newestFirst(names: string[]): string[] {
  const abi = (name: string): number => Number(packageName.exec(name)?.[2]);
  return names.filter((name) => packageName.test(name)).sort((a, b) => abi(b) - abi(a));
}

function kernelIn(cache: string, name: string): Kernel {
  const release = name.replace('linux-image-', '');
  return {
    release,
    image: path.join(cache, name, 'boot', `vmlinuz-${release}`),
    modules: path.join(cache, name, 'lib/modules', release),
  };
}

function run(command: string, args: string[], cwd: string) {
  const done = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 120_000 });
  const ok = done.status === 0;
  const said = done.error?.message ?? done.stderr.trim().split('\n').at(-1);
  return { ok, out: done.stdout ?? '', why: `${command} ${args.join(' ')}: ${said}` };
}
