/** The end of a weft whose lane stands still: its last line, and what its lanes had in hand. */
import { messageOf } from '../store/store.js';
import type { DataPath } from './data-path.js';
import type { DaemonOptions, SaveBatch } from './ground.js';
import { LaneWatch } from './lane-watch.js';
import { addressOf } from './open.js';

/** Watches from now on; weft ends with 1 when a lane is given up. `port`: where weft listens. */
export function watchLanes(
  { clock, log, lifecycle, saveBatch }: DaemonOptions,
  path: DataPath,
  port: number,
): LaneWatch {
  const watch = new LaneWatch({
    ...{ clock, log, look: () => path.turning },
    dead: (line, names) =>
      void lifecycle.leave(1, describeEnd(line, path, { names, port }, saveBatch)),
  });
  lifecycle.onLeave('the watch over the lanes', () => watch.stop());
  return watch;
}

/** The last line; `line`: what is wrong, with the threads of these names. Never throws. */
export function describeEnd(
  line: string,
  {
    name: device,
    place,
    lanes,
  }: Pick<DataPath, 'name' | 'place'> & {
    readonly lanes: Pick<DataPath['lanes'], 'batches'>;
  },
  { names, port }: { readonly names: readonly string[]; readonly port: number },
  save: SaveBatch,
): string {
  const end = `${line}: weft ends, so that a new start can forward again`;
  try {
    const file = save(lanes.batches(names), { device, address: addressOf(place.address), port });
    if (file === undefined) return `${end}; it had no packets in hand`;
    return `${end}; the packets that it had in hand are kept for weft replay in ${file}`;
  } catch (error) {
    return `${end}; the packets that it had in hand cannot be kept: ${messageOf(error)}`;
  }
}
