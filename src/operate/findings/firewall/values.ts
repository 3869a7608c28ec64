/** What is read from a packet, and what a rule compares it with. */
import { parseAddress } from '../../../dataplane/wire/ipv4.js';
import type { Packet, Truth } from './model.js';

/** Undefined: it may be anything. */
export type Value = number | string | undefined;

/** A set of numbers, or of names of which one may end in a wildcard. */
export type Test = (value: number | string) => Truth;

const FIRST_ADDRESS = /^[0-9.]+$/;

/** An address as a number from 0 to 2^32 - 1, so that ranges can be compared. */
export function unsigned(address: number | undefined): number | undefined {
  return address === undefined ? undefined : address >>> 0;
}

export function rangeTest(first: number, last: number): Test {
  return (value) => typeof value === 'number' && value >= first && value <= last;
}

/** `10.5.0.0/16`, `10.5.0.1`, `10.5.0.1-10.5.0.9`, or with a mask. Undefined if it is none of it. */
export function addressTest(text: string): Test | undefined {
  const [from = '', to] = text.split('-');
  if (to !== undefined) {
    const [first, last] = [addressOf(from), addressOf(to)];
    return first === undefined || last === undefined ? undefined : rangeTest(first, last);
  }
  const [address = '', length = '32'] = text.split('/');
  const base = addressOf(address);
  const mask =
    FIRST_ADDRESS.test(length) && length.includes('.') ? parseAddress(length) : undefined;
  const bits = mask ?? maskOf(Number(length));
  if (base === undefined || Number.isNaN(bits)) return undefined;
  return (value) => typeof value === 'number' && ((value ^ base) & bits) === 0;
}

function addressOf(text: string): number | undefined {
  return unsigned(parseAddress(text));
}

function maskOf(length: number): number {
  if (!(length >= 0 && length <= 32)) return Number.NaN;
  return length === 0 ? 0 : (-1 << (32 - length)) | 0;
}

/** A device's name; `wildcard` at its end stands for any rest. */
export function nameTest(name: string, wildcard: '*' | '+'): Test {
  if (!name.endsWith(wildcard)) return (value) => value === name;
  const start = name.slice(0, -1);
  return (value) => typeof value === 'string' && value.startsWith(start);
}

export function valueTest(wanted: number | string): Test {
  return (value) => value === wanted;
}

/** Whether a known value is one of those; of an unknown one it may be. */
export function holds(test: Test, value: Value): Truth {
  return value === undefined ? undefined : test(value);
}

/** A device that the hook does not have is no device at all: what is asked of it does not hold. */
export function deviceHolds(test: Test, name: string | undefined, inverted: boolean): Truth {
  if (name === undefined) return undefined;
  // Kernels differ in what "not this device" is where there is none.
  if (name === '') return inverted ? undefined : false;
  return test(name) !== inverted;
}

/** conntrack's states as rules name them, in whatever case. */
export function stateHolds(states: readonly string[], packet: Packet): Truth {
  const { state } = packet;
  return state === undefined ? undefined : states.some((name) => name.toLowerCase() === state);
}
