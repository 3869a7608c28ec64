/** `weft version`: which weft this is, on what it runs, and what can be seen of the kernel without rights. */
import fs from 'node:fs';
import os from 'node:os';
import process from 'node:process';
import { messageOf } from '../control/store/store.js';
import { findAddon, loadNative, SOL_UDP, UDP_GRO, UDP_SEGMENT } from '../dataplane/io/native.js';
import { plainJson } from '../operate/status/plain.js';
import type { Build } from '../operate/status/status.js';
import { build, describeBuild, version } from './build.js';
import { parseFlags, UsageError } from './flags.js';
import { VERSION } from './manual/about-weft.js';
import { flagsOf } from './manual/command.js';
import { helpOf } from './manual/help.js';
import { print, printJson, printText } from './print.js';

/** Field names are stable; new ones may be added. */
export interface Surroundings {
  readonly version: string;
  /** Null where it is not known. */
  readonly build: Build | null;
  readonly node: string;
  readonly arch: string;
  readonly addon: {
    readonly file: string;
    /** Why it cannot be loaded; null where it can. */
    readonly error: string | null;
  };
  readonly kernel: string;
  /** Null where the addon cannot ask. What a TUN has shows only once there is one. */
  readonly offloads: { readonly udpSegment: boolean; readonly udpGro: boolean } | null;
  /** Why /dev/net/tun cannot be opened; null where it can. */
  readonly tunError: string | null;
}

export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(flagsOf(VERSION), args);
  if (flags.bool('help')) {
    printText(helpOf(VERSION));
    return 0;
  }
  if (flags.rest.length > 0) throw new UsageError(`${JSON.stringify(flags.rest[0])} is not a flag`);
  const found = lookAround();
  if (flags.bool('json')) printJson(plainJson(found));
  else for (const line of describe(found)) print(line);
  return 0;
}

function describe(found: Surroundings): string[] {
  const { addon, offloads, tunError } = found;
  const has = (there: boolean) => (there ? 'yes' : 'no');
  const seen =
    offloads === null
      ? 'not known without the addon'
      : `UDP_SEGMENT ${has(offloads.udpSegment)}, UDP_GRO ${has(offloads.udpGro)}; ` +
        "the TUN's are told by weft status";
  return [
    `weft      ${found.version}`,
    `build     ${found.build === null ? 'not known: not built in a git clone' : describeBuild(found.build)}`,
    `node      ${found.node}, ${found.arch}`,
    `addon     ${addon.error ?? addon.file}`,
    `kernel    ${found.kernel}`,
    `offloads  ${seen}`,
    `tun       ${tunError ?? '/dev/net/tun can be opened'}`,
  ];
}

function lookAround(): Surroundings {
  const { offloads, error } = askKernel();
  return {
    ...{ version, build, node: process.version, arch: process.arch },
    addon: { file: findAddon(), error },
    kernel: os.release(),
    offloads,
    tunError: whyNoTun(),
  };
}

/** Asks a UDP socket, which everybody may have. */
function askKernel(): { offloads: Surroundings['offloads']; error: string | null } {
  try {
    const native = loadNative();
    const socket = native.udpOpen(4);
    const takes = (name: number, value: number) =>
      native.setOption(socket, SOL_UDP, name, value) >= 0;
    const offloads = { udpSegment: takes(UDP_SEGMENT, 1400), udpGro: takes(UDP_GRO, 1) };
    native.close(socket);
    return { offloads, error: null };
  } catch (error) {
    return { offloads: null, error: messageOf(error) };
  }
}

function whyNoTun(): string | null {
  try {
    fs.closeSync(fs.openSync('/dev/net/tun', 'r+'));
    return null;
  } catch (error) {
    return messageOf(error);
  }
}
