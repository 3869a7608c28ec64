/**
 * A fresh Debian to try things in: made once by debootstrap, kept in .cache, and handed out as an
 * overlay in memory, so that what is done in it is gone with it. It is a root of its own, not a
 * chroot, in which no lab can be made.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { findProgram } from '../../src/lab/enter.js';

const CACHE = path.resolve('.cache/roots');

/** debootstrap's own. */
const MIRROR = 'http://deb.debian.org/debian/dists/stable/InRelease';

/** What every such root is made of: what a machine does not let its root do is told by the first word. */
const TRY =
  'cd "$(mktemp -d)" && mount -t tmpfs try . && mknod tun c 10 200 && mkdir u w m && \
  mount -t overlay -o lowerdir=/etc,upperdir=u,workdir=w try m';

/** What this machine lacks for it; undefined when nothing. */
export function rootLacks(): string | undefined {
  if (process.getuid?.() !== 0) return 'a root of its own is made as root';
  const missing = ['debootstrap', 'unshare', 'pivot_root'].filter((name) => !findProgram(name));
  if (missing.length > 0) return `not installed: ${missing.join(', ')}`;
  const argv = ['--mount', '--propagation', 'private', 'sh', '-c', TRY];
  const { status, stderr } = spawnSync('unshare', argv, { encoding: 'utf8', timeout: 10_000 });
  if (status !== 0) return `root may not mount and make devices here (${stderr.trim()})`;
  // By what debootstrap downloads with.
  const again = ['--tries=3', '--waitretry=2', '--retry-on-http-error=502,503,504'];
  const asked = ['--quiet', '--spider', ...again, '--timeout=20', MIRROR];
  const { status: reached } = spawnSync('wget', asked, { timeout: 70_000 });
  return reached === 0 ? undefined : `Debian's packages cannot be reached (${MIRROR})`;
}

/** `release` is Debian's word (bookworm), `packages` are there beside the least that it has. */
export function makeRoot(release: string, packages: readonly string[]): string {
  const root = path.join(CACHE, `${release}-${packages.join('-')}`);
  if (fs.existsSync(`${root}/.made`)) return root;
  fs.rmSync(root, { recursive: true, force: true });
  fs.mkdirSync(CACHE, { recursive: true });
  const include = packages.length === 0 ? [] : [`--include=${packages.join(',')}`];
  const done = spawnSync('debootstrap', ['--variant=minbase', ...include, release, root], {
    encoding: 'utf8',
    timeout: 300_000,
  });
  if (done.status !== 0) throw new Error(`debootstrap: ${done.stdout.slice(-2_000)}`);
  fs.writeFileSync(`${root}/.made`, '');
  return root;
}

export interface Ran {
  readonly code: number;
  /** Standard output and standard error together. */
  readonly output: string;
}

/**
 * The command that runs a shell script in a fresh copy of a root, with these files in its /tmp. It
 * shares the network of this host, and nothing else that it could change: its /dev/net/tun is its own.
 */
export function freshCommand(root: string, script: string, files: readonly string[]): string[] {
  const set = `
    set -e
    m=$(mktemp -d); mount -t tmpfs fresh "$m"; mkdir "$m/up" "$m/work" "$m/root"
    mount -t overlay -o "lowerdir=$1,upperdir=$m/up,workdir=$m/work" fresh "$m/root"
    cd "$m/root"
    mount --rbind /dev dev; mount -t sysfs sys sys; mount -t tmpfs run run
    mount -t tmpfs -o mode=755 net dev/net; mknod -m 600 dev/net/tun c 10 200
    mount --rbind /sys/fs/cgroup sys/fs/cgroup
    cp /etc/resolv.conf etc/resolv.conf
    shift; script=$1; shift
    for file; do cp "$file" tmp/; done
    # A registry that is reached by somebody's own authority is reached so from here, too.
    if [ -n "$NODE_EXTRA_CA_CERTS" ]; then
      cp "$NODE_EXTRA_CA_CERTS" etc/authority.pem
      trust="NODE_EXTRA_CA_CERTS=/etc/authority.pem npm_config_cafile=/etc/authority.pem"
    fi
    mkdir -p old; pivot_root . old
    mount -t proc proc /proc; umount -l /old; rmdir /old
    cd /root
    exec env -i $trust HOME=/root TERM=dumb PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \\
      DEBIAN_FRONTEND=noninteractive sh -c "exec 2>&1; $script"`;
  const argv = ['--mount', '--pid', '--fork', '--kill-child', '--propagation', 'private'];
  return ['unshare', ...argv, 'sh', '-c', set, 'sh', root, script, ...files];
}

export function runFresh(
  root: string,
  script: string,
  files: readonly string[],
  seconds = 300,
): Ran {
  const [program, ...argv] = freshCommand(root, script, files);
  const done = spawnSync(program!, argv, {
    encoding: 'utf8',
    timeout: seconds * 1_000,
    maxBuffer: 1 << 26,
    killSignal: 'SIGKILL',
  });
  return { code: done.status ?? 1, output: done.stdout + done.stderr };
}
