/**
 * What `weft capture` and the weft that runs say to each other on the capture socket: a line of JSON
 * each way, and from then on records as they lie in the lanes' rings (forward/tap/ring.ts).
 */
import type { CaptureFilter } from '../../dataplane/forward/tap/filter.js';

/** Goes up with every change of the records or of these types. */
export const CAPTURE_FORMAT = 1;

export interface CaptureRequest {
  readonly format: number;
  /** Of the process that asks, for the one that is refused. */
  readonly pid: number;
  readonly filter: CaptureFilter;
  /** Bytes that all lanes' threads together may copy a second; 0: all that is taken from them in time. */
  readonly rate: number;
}

export type CaptureAnswer =
  | {
      /** The TUN. */
      readonly device: string;
      /** Where weft listens on the underlay, dotted, and UDP. */
      readonly address: string;
      readonly port: number;
      /** Reasons of drops, by their number. */
      readonly drops: readonly string[];
      /** Whether packets can flow just now. */
      readonly running: boolean;
    }
  | {
      /** Why there is no capture: a sentence. */
      readonly error: string;
    };

/** A request, or why it is none. */
export function readRequest(line: string): CaptureRequest | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return 'the request is no JSON';
  }
  const { format, filter, rate, pid } = (value ?? {}) as Partial<CaptureRequest>;
  if (format !== CAPTURE_FORMAT) {
    return (
      'this weft capture and the weft that runs are of different builds, and their captures ' +
      'differ: use the same build, or restart weft up'
    );
  }
  const isRequest =
    isWhole(rate, 0, RATE_MAX) && isWhole(pid, 0, 2 ** 31) && filter != null && isFilter(filter);
  return isRequest ? { format, filter, rate, pid } : 'the request has not what it needs';
}

/** What a lane may save up fits a word with it. */
export const RATE_MAX = 1_000_000_000;
export const SNAP_MAX = 65_535;

function isFilter(filter: CaptureFilter): boolean {
  const { inner, outer, inbound, outbound, dropsOnly, limited } = filter;
  const { reason, peer, network, protocol, port, snap } = filter;
  const may = (value: unknown, least: number, most: number) =>
    value === undefined || isWhole(value, least, most);
  const isAddress = (value: unknown) => may(value, -(2 ** 31), 2 ** 31 - 1);
  return (
    [inner, outer, inbound, outbound, dropsOnly, limited].every((on) => typeof on === 'boolean') &&
    may(reason, 1, 255) &&
    isAddress(peer) &&
    may(protocol, 0, 255) &&
    may(port, 0, 65_535) &&
    isWhole(snap, 0, SNAP_MAX) &&
    (network === undefined || (isAddress(network.address) && isWhole(network.length, 0, 32)))
  );
}

function isWhole(value: unknown, least: number, most: number): value is number {
  return Number.isInteger(value) && Number(value) >= least && Number(value) <= most;
}
