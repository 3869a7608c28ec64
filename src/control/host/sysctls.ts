/**
 * The kernel settings of single devices. weft writes those of its own TUN alone; they go with it, so
 * the journal need not know. Of other devices, and of the host, it reads what packets depend on.
 *
 * The files are read and written directly, because a device's name contains a dot, which `sysctl`
 * takes for a separator.
 */
import fs from 'node:fs';
import { quoted } from '../shell.js';

/** The text of a file under /proc/sys, or undefined where there is none to be read. */
export function readSysctl(key: string, proc = '/proc'): string | undefined {
  try {
    return fs.readFileSync(`${proc}/sys/${key}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/**
 * Makes it `value`. Returns whether it was another and is that now: a kernel without IPv6 lacks
 * files, and in a container /proc/sys is often not to be written.
 */
export function keepSysctl(key: string, value: string, proc = '/proc'): boolean {
  const now = readSysctl(key, proc);
  if (now === undefined || now === value) return false;
  try {
    fs.writeFileSync(`${proc}/sys/${key}`, `${value}\n`, { flag: 'r+' });
    return true;
  } catch {
    return false;
  }
}

/** The setting of a device by its path under /proc/sys; `all` and `default` are devices, too. */
export function ofDevice(device: string, key: string, family: 'ipv4' | 'ipv6' = 'ipv4'): string {
  return `net/${family}/conf/${device}/${key}`;
}

/** What an operator types. */
export function sysctlCommand(key: string, value: string): string {
  const dotted = key.includes('.') ? key : key.replaceAll('/', '.');
  return `sysctl -w ${quoted(`${dotted}=${value}`)}`;
}
