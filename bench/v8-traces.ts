/** What V8 writes with --trace-gc and --trace-deopt, as far as the bench reads it. */

/** The lines of collections by the isolate they belong to, in the order of its first one. */
export function collectionsByIsolate(output: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [line, isolate] of output.matchAll(/^\[\d+:(0x[0-9a-f]+)\] +\d+ ms: .*$/gm)) {
    found.set(isolate!, [...(found.get(isolate!) ?? []), line]);
  }
  return found;
}

/** The lines that begin a deoptimisation: of one activation, or of code that lost a ground. */
export function deoptimisations(trace: string): string[] {
  return trace.split('\n').filter((line) => /begin\. deoptimizing|^\[marking dependent/.test(line));
}
