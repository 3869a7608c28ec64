/** Not here yet. */
export async function main(_args: string[]): Promise<number> {
  return Promise.resolve(1);
}
