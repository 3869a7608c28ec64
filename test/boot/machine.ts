/** An emulated machine that boots one kernel, runs its `/init`, and powers off. */
import { spawn } from 'node:child_process';
import { stripVTControlCharacters } from 'node:util';

/** What came of a boot. */
export interface Boot {
  /** All that the machine wrote to its serial console, without carriage returns and escape sequences. */
  console: string;
  /** How the emulator ended: `exit 0`, or the signal, or that the time was over. */
  ended: string;
}

/**
 * Boots and waits for the power-off. Emulated without KVM, so it needs no rights and no nested
 * virtualization; a kernel that panics ends the emulator too (`panic=-1`, `-no-reboot`).
 * @param limit milliseconds after which the emulator is killed.
 */
export async function boot(kernel: string, initramfs: string, limit: number): Promise<Boot> {
  const machine = ['-accel', 'tcg', '-cpu', 'max', '-m', '1024', '-nographic', '-no-reboot'];
  const system = ['-nic', 'none', '-kernel', kernel, '-initrd', initramfs];
  // Emulated on a busy machine, the timer ticks too late for the kernel's test of it.
  const command = 'console=ttyS0 loglevel=4 panic=-1 no_timer_check';
  const qemu = spawn('qemu-system-x86_64', [...machine, ...system, '-append', command], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const chunks: Buffer[] = [];
  qemu.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  qemu.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    qemu.kill('SIGKILL');
  }, limit);
  const end = (): void => {
    qemu.kill('SIGKILL');
  };
  process.once('exit', end);
  const ended = new Promise<string>((resolve, reject) => {
    qemu.once('error', reject);
    qemu.once('close', (code, signal) => resolve(code === null ? `${signal}` : `exit ${code}`));
  });
  try {
    const how = await ended;
    const said = stripVTControlCharacters(Buffer.concat(chunks).toString('utf8'));
    return {
      console: said.replaceAll('\r', ''),
      ended: late ? `killed after ${limit / 1000} s` : how,
    };
  } finally {
    clearTimeout(timer);
    process.off('exit', end);
  }
}
