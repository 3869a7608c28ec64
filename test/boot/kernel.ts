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
 * apt knows none or cannot fetch it, refreshes apt's lists and tries once more; then asks Debian 12,
 * whatever this machine has; after that the newest kernel in the cache is taken.
 * @throws Unavailable when there is none in the cache either.
 */
export function fetchKernel(cache: string): Kernel {
  fs.mkdirSync(cache, { recursive: true });
  const why: string[] = [];
  for (const [refresh, options] of [
    [false, []],
    [true, []],
    [true, debian12(cache)],
  ] as const) {
    if (refresh) run('apt-get', [...options, '-q', 'update'], cache);
    const listed = run('apt-cache', [...options, 'pkgnames', 'linux-image-6.1.0-'], cache);
    const newest = newestFirst(listed.out.split('\n'))[0];
    if (newest === undefined) {
      why.push(listed.ok ? 'apt-cache lists no linux-image-6.1.0-…-cloud-amd64' : listed.why);
      continue;
    }
    const reason = fetchPackage(cache, newest, options);
    if (reason === undefined) return kernelIn(cache, newest);
    why.push(reason);
  }
  const cached = newestFirst(fs.readdirSync(cache))[0];
  if (cached !== undefined) return kernelIn(cache, cached);
  throw new Unavailable(`no Debian 6.1 cloud kernel: ${[...new Set(why)].join('; ')}`);
}

/** apt's options for looking into Debian 12 alone, with lists in the cache, which any user may write. */
function debian12(cache: string): string[] {
  const apt = path.join(cache, 'debian12');
  fs.mkdirSync(path.join(apt, 'lists/partial'), { recursive: true });
  const key = '/usr/share/keyrings/debian-archive-keyring.gpg';
  const source = `deb [signed-by=${key}] http://deb.debian.org/debian bookworm main\n`;
  fs.writeFileSync(path.join(apt, 'sources.list'), source);
  return [
    `Dir::Etc::sourcelist=${apt}/sources.list`,
    'Dir::Etc::sourceparts=-',
    `Dir::State::lists=${apt}/lists`,
    `Dir::Cache=${apt}`,
    // As root, apt would fetch as a user who may not write there.
    'APT::Sandbox::User=root',
  ].flatMap((option) => ['-o', option]);
}

/** Downloads and unpacks into a folder of the package's name; returns why it failed, if so. */
function fetchPackage(cache: string, name: string, options: readonly string[]): string | undefined {
  const home = path.join(cache, name);
  if (fs.existsSync(home)) return undefined;
  const temporary = fs.mkdtempSync(path.join(cache, 'fetch-'));
  try {
    const fetched = run('apt-get', [...options, '-q', 'download', name], temporary);
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

function run(command: string, args: readonly string[], cwd: string) {
  const done = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 120_000 });
  const ok = done.status === 0;
  const said = done.error?.message ?? done.stderr.trim().split('\n').at(-1);
  return { ok, out: done.stdout ?? '', why: `${command} ${args.join(' ')}: ${said}` };
}
