/** What is made of memory that held something else before. */
import { mock } from 'node:test';

/** Calls `make` while each Buffer that it gets without zeros in it is full of 0xA5. */
export function withSpoiledMemory<T>(make: () => T): T {
  const spoiled = mock.method(Buffer, 'allocUnsafe', (size: number) => Buffer.alloc(size, 0xa5));
  try {
    return make();
  } finally {
    spoiled.mock.restore();
  }
}
