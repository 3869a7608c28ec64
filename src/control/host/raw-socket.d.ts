/** The npm package raw-socket 1.8.1 brings no types; these are the parts weft uses. */
declare module 'raw-socket' {
  import type { EventEmitter } from 'node:events';

  export interface Socket extends EventEmitter {
    /** `message` is a piece of one buffer that the next message is written into. */
    on(event: 'message', listener: (message: Buffer, source: string) => void): this;
    on(event: 'error', listener: (error: Error) => void): this;
    on(event: 'close', listener: () => void): this;
    /** Calls back when the kernel took it, or with the text of its errno; never at once. */
    send(
      buffer: Buffer,
      offset: number,
      length: number,
      address: string,
      done: (error: Error | null, bytes: number) => void,
    ): this;
    /** A number from 0 to 2^32-1, or `length` bytes of a buffer. Throws the text of the errno. */
    setOption(level: number, option: number, value: number): void;
    setOption(level: number, option: number, value: Buffer, length: number): void;
    pauseRecv(): this;
    resumeRecv(): this;
    close(): this;
  }

  export interface RawSockets {
    /** Throws the text of the errno. */
    createSocket(options: { readonly protocol: number; readonly bufferSize: number }): Socket;
  }
  /** A CommonJS module: all of it is the default export. */
  const raw: RawSockets;
  export default raw;
}
