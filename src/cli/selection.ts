/** The flags that choose the underlay interface. */
import { type Pattern, readPattern } from '../control/host/go-pattern.js';
import type { Selection } from '../control/host/interfaces.js';
import { messageOf } from '../control/store/store.js';
import { type Flags, UsageError } from './flags.js';

/** Throws a UsageError that names a pattern which is none. */
export function readSelection(flags: Flags): Selection {
  return {
    // A unit file with an unset variable gives an empty one, which flanneld passes over too.
    iface: flags.list('iface').filter((name) => name !== ''),
    ifaceRegex: readPatterns(flags),
    canReach: flags.text('iface-can-reach'),
    publicIp: flags.text('public-ip'),
  };
}

function readPatterns(flags: Flags): Pattern[] {
  const given = flags.list('iface-regex').filter((text) => text !== '');
  return given.map((text) => {
    try {
      return readPattern(text);
    } catch (error) {
      throw new UsageError(`-iface-regex=${text}: ${messageOf(error)}`);
    }
  });
}
