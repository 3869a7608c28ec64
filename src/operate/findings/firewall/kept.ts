/**
 * What was read of tables with very many chains, such as kube-proxy's of a large cluster: nft takes
 * seconds of a processor for one chain of them, whatever is in it. They are read anew the less often
 * the more chains they have; those of others are read each time.
 */
/** From so many chains on. */
const HUGE = 2_000;
/** By one look in so many chains; a chain of 30,000 takes 4 s, one of 3,000 a hundredth of it. */
const CHAINS_A_LOOK = 20;

export class Kept<Read> {
  readonly #tables = new Map<string, { read: Read; looks: number }>();

  async take(table: string, chains: number, read: () => Promise<Read>): Promise<Read> {
    if (chains < HUGE) return await read();
    const known = this.#tables.get(table);
    if (known !== undefined && known.looks > 0) {
      known.looks -= 1;
      return known.read;
    }
    const fresh = await read();
    this.#tables.set(table, { read: fresh, looks: Math.floor(chains / CHAINS_A_LOOK) });
    return fresh;
  }
}
