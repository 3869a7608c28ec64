/** A command line that means nothing: one line of why, one of what there is, exit code 2, as weft's own. */
import process from 'node:process';

/** What `read` gives; `usage` stands behind `npm run`. */
export function orUsage<T>(usage: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    // Node's own goes on with advice on positional arguments.
    console.error(`${why.split('. To specify')[0]!.replace(/\.$/, '')}\nusage: npm run ${usage}`);
    process.exit(2);
  }
}
