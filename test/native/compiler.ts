/** The compiler that the set-up builds the addon with: CC, which may have arguments (`ccache gcc -m64`), or cc. */
import { spawnSync } from 'node:child_process';
import process from 'node:process';

const script = new URL('../../../scripts/addon.mjs', import.meta.url);
const { compilerWords, kernelHeaders } = (await import(script.href)) as {
  compilerWords(text?: string): string[];
  kernelHeaders(program: string): string[];
};

/** What a person calls it. */
export const COMPILER = compilerWords(process.env.CC).join(' ');

export function compile(args: readonly string[], cwd?: string) {
  const [program, ...words] = compilerWords(process.env.CC);
  const options = cwd === undefined ? {} : { cwd };
  return spawnSync(program!, [...words, ...kernelHeaders(program!), ...args], {
    ...options,
    encoding: 'utf8',
  });
}
