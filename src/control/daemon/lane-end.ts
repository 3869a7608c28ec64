/** The last line of a weft whose lane stands still; what its lanes had in hand is kept. */
import { messageOf } from '../store/store.js';
import type { DataPath } from './data-path.js';
import type { SaveBatch } from './ground.js';
import { addressOf } from './open.js';

/** `line`: what is wrong. `port`: where weft listens. Never throws. */
export function describeEnd(
  line: string,
  {
    name: device,
    place,
    lanes,
  }: Pick<DataPath, 'name' | 'place'> & {
    readonly lanes: Pick<DataPath['lanes'], 'batches'>;
  },
  port: number,
  save: SaveBatch,
): string {
  const end = `${line}: weft ends, so that a new start can forward again`;
  try {
    const file = save(lanes.batches, { device, address: addressOf(place.address), port });
    if (file === undefined) return `${end}; it had no packets in hand`;
    return `${end}; the packets that it had in hand are kept for weft replay in ${file}`;
  } catch (error) {
    return `${end}; the packets that it had in hand cannot be kept: ${messageOf(error)}`;
  }
}
