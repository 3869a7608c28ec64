/** What the programs that try fresh machines are told, and what they say where none can be made. */
import process from 'node:process';
import { orUsage } from '../usage.js';

export interface Chosen {
  /** Debian releases, as `--only=13` names one; all of them unless told. */
  readonly releases: readonly string[];
  /** `--brief`: one way through, for each change; the whole takes long. */
  readonly brief: boolean;
}

/** Ends the process for arguments that mean nothing. `script` is npm's. */
export function readArguments(
  script: string,
  known: readonly string[],
  args: readonly string[] = process.argv.slice(2),
): Chosen {
  const brief = args.includes('--brief');
  const only = orUsage(`${script} -- [--only=${known.join('|')}] [--brief]`, () =>
    args
      .filter((arg) => arg !== '--brief')
      .map((arg) => {
        const number = /^--only=(.*)$/.exec(arg)?.[1];
        if (number === undefined) throw new Error(`Unknown option '${arg}'`);
        if (!known.includes(number)) throw new Error(`${arg}: there is no such release`);
        return number;
      }),
  );
  return { releases: only.length === 0 ? known : known.filter((one) => only.includes(one)), brief };
}

/** The last word of a program on a machine that lacks what it needs: no failure, and no silence. */
export function skipAll(script: string, why: string): never {
  console.log(`\n*** npm run ${script}: NOTHING WAS TRIED: ${why} ***\n`);
  process.exit(0);
}
