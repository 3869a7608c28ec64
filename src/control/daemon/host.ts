/**
 * What a weft runs on: all that the daemon and the data path touch outside their own memory, beside
 * the clock, the log and the store. One object, so that a test can stand in for a whole host.
 */
import process from 'node:process';
import { Echo, type EchoOptions, loadRawSockets } from '../host/echo.js';
import { JOURNAL_DIRECTORY } from '../host/journal.js';
import { type Runner, systemRunner } from '../host/runner.js';
import { nativeIo, type PacketIo } from './packet-io.js';
import type { Prober } from './paths.js';

export interface Host {
  /** Starts `ip`, `iptables` and `nft`. */
  readonly runner: Runner;
  /** The sockets, the TUN and the lanes' threads. */
  readonly io: PacketIo;
  /** Of this process. */
  readonly pid: number;
  /** Where journals, status sockets and the saved network lie. */
  readonly folder: string;
  readonly proc: string;
  /** What gives TUN devices. */
  readonly tunFile: string;
  /** What paths are measured with. Rejects with why nothing can be measured, in words. */
  readonly openEcho: (options: EchoOptions) => Promise<Prober>;
}

/** The host that this process is on. `laneProgram`: what the lanes' threads run, if not the forwarding loop. */
export function thisHost(laneProgram?: URL): Host {
  // All code is read now: see dataplane/forward/lane-program.ts.
  void loadRawSockets();
  return {
    runner: systemRunner,
    io: nativeIo(laneProgram),
    pid: process.pid,
    folder: JOURNAL_DIRECTORY,
    proc: '/proc',
    tunFile: '/dev/net/tun',
    openEcho: (options) => Echo.open(options),
  };
}
