/**
 * Boots Debian 12's 6.1 kernel in an emulator and runs weft on it, against weft and against the
 * kernel's own VXLAN. What happens inside stands in `guest/init.sh`; this file says what must
 * come of it.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Status } from '../../src/operate/status/status.js';
import {
  addFolder,
  addModules,
  addProductionPackages,
  addProgram,
  type Files,
  writeArchive,
} from './initramfs.js';
import { fetchKernel, type Kernel, Unavailable } from './kernel.js';
import { boot } from './machine.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const guest = path.join(root, 'test/boot/guest');
const cache = path.join(root, '.cache/boot');

/** What the guest must say, in its order. */
const steps = [
  'no-vxlan',
  'modules',
  'node',
  'hosts',
  'weft-h1',
  'weft-h2',
  'ping-weft-to-weft',
  'tcp-weft-to-weft',
  'tcp-weft-from-weft',
  'weft-down-h2',
  'vxlan-modules',
  'kernel-vtep',
  'ping-weft-to-kernel',
  'ping-kernel-to-weft',
  'tcp-weft-to-kernel',
  'tcp-kernel-to-weft',
  'weft-status',
  'weft-down-h1',
  'vrf-modules',
  'vrf',
  'weft-in-vrf',
  'ping-vrf-to-kernel',
  'ping-kernel-to-vrf',
  'tcp-vrf-to-kernel',
  'tcp-kernel-to-vrf',
  'route-mtu-in-vrf',
  'out-of-vrf',
  'weft-down-vrf',
];

/** Bytes of one TCP transfer in the guest. */
const transferred = 1_048_576;

/** Lines of the console worth a look when all went well. */
const excerpt = /^(kernel |Error: |node |h\d weft: |STEP |(sent|got) |up for )/;

test('weft on a kernel without VXLAN', { timeout: 600_000 }, async (t) => {
  const kernel = requirements();
  if (typeof kernel === 'string') {
    t.skip(kernel);
    return;
  }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-boot-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const initramfs = path.join(folder, 'initramfs');
  pack(kernel, initramfs, folder);

  const { console: said, ended } = await boot(kernel.image, initramfs, 400_000);
  const outcome = [...said.matchAll(/^STEP (\S+): (ok|FAILED)$/gm)].map((m) => `${m[1]}: ${m[2]}`);
  const expected = steps.map((name) => `${name}: ok`);
  const good = ended === 'exit 0' && outcome.join() === expected.join();
  const lines = said.split('\n');
  for (const line of good ? lines.filter((text) => excerpt.test(text)) : lines) t.diagnostic(line);
  assert.deepEqual(outcome, expected, `the machine ended with: ${ended}`);
  assert.equal(ended, 'exit 0');
  assert.match(said, new RegExp(`^kernel ${kernel.release}$`, 'm'));
  assert.match(
    said,
    /CSUM yes, TSO yes, USO no, UDP_SEGMENT yes, UDP_GRO yes, written TCP yes, written UDP no$/m,
  );
  checkStatus(said, t);
});

/** What the first host's weft counted, once all is done: two transfers each way. */
function checkStatus(said: string, t: TestContext): void {
  const status: unknown = JSON.parse(/^STATUS (.*)$/m.exec(said)?.[1] ?? 'null');
  const { offload, lanes, counters, drops, kernelUdp } = status as Status;
  const { outbound_out_packets: sent, inbound_out_packets: delivered } = counters;
  t.diagnostic(
    `weft on h1: tier ${offload.tier}, ${sent} packets sent, ${delivered} delivered, ` +
      `drops ${JSON.stringify(drops)}`,
  );
  // UDP super-packets on a TUN came with Linux 6.2.
  assert.equal(offload.tier, 'segment-tso');
  assert.deepEqual([offload.tunTso, offload.tunUso, offload.udpGro], [true, false, true]);
  assert.deepEqual(
    lanes.map(({ running }) => running),
    [true, true],
  );
  assert.ok(counters.outbound_out_bytes > 2 * transferred);
  assert.ok(counters.inbound_out_bytes > 2 * transferred);
  assert.deepEqual(drops, {});
  assert.equal(kernelUdp.badChecksums, 0);
}

/** The kernel to boot, or why that cannot be done here. */
function requirements(): Kernel | string {
  if (process.arch !== 'x64') return `needs an x64 host for an x64 guest; this is ${process.arch}`;
  for (const [program, name] of [
    ['qemu-system-x86_64', 'qemu-system-x86'],
    ['busybox', 'busybox-static'],
    ['ip', 'iproute2'],
  ] as const) {
    if (which(program) === undefined) return `needs ${program} (Debian package ${name})`;
  }
  if (!fs.existsSync(path.join(root, 'native/build/weft.node'))) return 'needs the built addon';
  try {
    return fetchKernel(cache);
  } catch (error) {
    if (error instanceof Unavailable) return error.message;
    throw error;
  }
}

/** The sbin folders are searched too: a plain user's PATH lacks them. */
function which(program: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'];
  return folders.map((folder) => path.join(folder, program)).find((file) => fs.existsSync(file));
}

/** Packs the guest's files; `folder` takes what is made for it. */
function pack(kernel: Kernel, initramfs: string, folder: string): void {
  const files: Files = new Map();
  files.set('init', path.join(guest, 'init.sh'));
  files.set('offloads.cjs', path.join(guest, 'offloads.cjs'));
  files.set('network.json', path.join(guest, 'network.json'));
  addProgram(files, 'bin/busybox', which('busybox')!);
  addProgram(files, 'usr/sbin/ip', which('ip')!);
  addProgram(files, 'usr/sbin/bridge', which('bridge')!);
  addProgram(files, 'usr/bin/node', process.execPath);
  addFolder(files, 'weft/dist/src', path.join(root, 'dist/src'));
  addFolder(files, 'weft/native/build', path.join(root, 'native/build'));
  addProductionPackages(files, 'weft', root);
  files.set('weft/package.json', path.join(root, 'package.json'));

  const base = addModules(files, kernel.modules, ['tun', 'veth']);
  const vxlan = addModules(files, kernel.modules, ['tun', 'veth', 'vxlan']);
  const all = addModules(files, kernel.modules, ['tun', 'veth', 'vxlan', 'vrf']);
  const lists = {
    base,
    vxlan: vxlan.filter((name) => !base.includes(name)),
    vrf: all.filter((name) => !vxlan.includes(name)),
  };
  for (const [name, modules] of Object.entries(lists)) {
    const list = path.join(folder, name);
    fs.writeFileSync(list, modules.join('\n'));
    files.set(`modules/${name}`, list);
  }
  writeArchive(initramfs, files);
}
