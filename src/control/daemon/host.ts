/**
 * What a weft runs on: all that the daemon and the data path touch outside their own memory, beside
 * the clock, the log and the store. One object, so that a test can stand in for a whole host.
 */
import process from 'node:process';
import { loadNative } from '../../dataplane/io/native.js';
import { Echo, type EchoOptions, loadRawSockets } from '../host/echo.js';
import { readHostId } from '../host/host-id.js';
import { folderOf } from '../host/run-folder.js';
import { type Runner, systemRunner } from '../host/runner.js';
import { nativeIo, type PacketIo } from './packet-io.js';
import type { Prober } from './paths.js';

export interface Host {
  /** Starts `ip`, `iptables` and `nft`. */
  readonly runner: Runner;
  /** See `Subject` of operate/findings. */
  readonly rulesNumber: () => number | null;
  /** The sockets, the TUN and the lanes' threads. */
  readonly io: PacketIo;
  /** Of this process. */
  readonly pid: number;
  /** Where the wefts of all network namespaces keep their files (`-run-dir`). */
  readonly runDirectory: string;
  /** Of that, this namespace's: where journals, status sockets and the saved network lie. */
  readonly folder: string;
  readonly proc: string;
  /** Where control groups are mounted. */
  readonly cgroups: string;
  /** What gives TUN devices. */
  readonly tunFile: string;
  /** Reads the code of the next, so that it is of the build that runs. Never rejects. */
  readonly readEcho: () => Promise<unknown>;
  /** What paths are measured with. Rejects with why nothing can be measured, in words. */
  readonly openEcho: (options: EchoOptions) => Promise<Prober>;
}

/**
 * The host that this process is on.
 * @param laneProgram what the lanes' threads run, if not the forwarding loop
 */
export async function thisHost(runDirectory: string, laneProgram?: URL): Promise<Host> {
  return {
    runner: systemRunner,
    rulesNumber: askRulesNumber,
    io: nativeIo(laneProgram),
    pid: process.pid,
    runDirectory,
    folder: await folderOf(runDirectory, readHostId('/proc')),
    proc: '/proc',
    cgroups: '/sys/fs/cgroup',
    tunFile: '/dev/net/tun',
    readEcho: loadRawSockets,
    openEcho: (options) => Echo.open(options),
  };
}

function askRulesNumber(): number | null {
  try {
    return loadNative().rulesNumber();
  } catch {
    // No nftables, or no right to ask; then rules are read to see whether they changed.
    return null;
  }
}
