import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import process from 'node:process';

/** What keeps these tests from running here, or undefined. */
export function whatTunTestsMiss(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root, to make a TUN in a network namespace';
  if (!fs.existsSync('/dev/net/tun')) return 'needs /dev/net/tun (modprobe tun)';
  const made = spawnSync('unshare', ['--net', 'ip', 'link'], { encoding: 'utf8' });
  if (made.error) return 'needs unshare, of the package util-linux';
  if (made.status !== 0) return `needs ip and network namespaces: ${made.stderr.trim()}`;
  return undefined;
}
