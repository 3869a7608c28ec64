/**
 * The code of a lane's thread, read once and kept: a thread that is started later runs the build that
 * this process is of, whatever has become of the files meanwhile. Two builds in one process would
 * share memory of which each has its own idea.
 */
import fs from 'node:fs';

/** A module and all that it imports, by URL. */
export interface Program {
  readonly entry: string;
  readonly sources: Readonly<Record<string, string>>;
}

/** What the compiler writes: an import stands at the beginning of a line or behind its brace. */
const RELATIVE = /^(?:import|export|\}) ?.*?from '(\.[^']+)';$|^import '(\.[^']+)';$/gm;

/** Throws what the file system says. */
export function readProgram(entry: URL): Program {
  const sources: Record<string, string> = {};
  const read = (url: URL): void => {
    if (url.href in sources) return;
    const source = fs.readFileSync(url, 'utf8');
    sources[url.href] = source;
    for (const [, from, bare] of source.matchAll(RELATIVE)) read(new URL((from ?? bare)!, url));
  };
  read(entry);
  return { entry: entry.href, sources };
}

/** How a worker is to be started for `RUN`. */
export const RUN_FLAGS = ['--experimental-vm-modules', '--no-warnings'];

/** Runs `workerData.program` in a worker: its modules from memory, Node's own from Node. */
export const RUN = `
const vm = require('node:vm');
const { workerData } = require('node:worker_threads');
const { entry, sources } = workerData.program;
delete workerData.program;
const modules = new Map();
const moduleOf = (identifier) => {
  let module = modules.get(identifier);
  if (module === undefined) {
    const initializeImportMeta = (meta) => { meta.url = identifier; };
    module = new vm.SourceTextModule(sources[identifier], { identifier, initializeImportMeta });
    modules.set(identifier, module);
  }
  return module;
};
const builtin = async (name) => {
  const namespace = await import(name);
  const names = Object.keys(namespace);
  return new vm.SyntheticModule(names, function () {
    for (const name of names) this.setExport(name, namespace[name]);
  });
};
const link = (specifier, from) => specifier.startsWith('.')
  ? moduleOf(new URL(specifier, from.identifier).href)
  : builtin(specifier);
(async () => {
  const main = moduleOf(entry);
  await main.link(link);
  await main.evaluate();
})();`;
