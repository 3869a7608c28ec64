/**
 * What a person calls a process: as its first thread is called (`comm`), but for Node, which from 24
 * on calls that one MainThread or node-MainThread; then it is the program of the command line
 * (`cmdline`, words ended by NUL).
 */
export function processName(comm: string, cmdline: string): string {
  const name = comm.trim();
  if (!name.endsWith('MainThread')) return name;
  const [program = ''] = cmdline.split('\0');
  return program.split('/').at(-1) || name;
}
