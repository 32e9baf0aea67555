/**
 * User and system time of service, Valkey and generator. Read by the generator itself at both ends of the window: any
 * other process would be told late, just when the machine is busy.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { CpuSeconds, Job } from './job.js';

export class CpuMeter {
  private readonly ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  private begin: CpuSeconds;

  constructor(private readonly job: Job) {
    this.begin = this.read();
  }

  start(): void {
    this.begin = this.read();
  }

  /** Since `start`. */
  stop(): CpuSeconds {
    const { begin } = this;
    const end = this.read();
    return {
      service: end.service - begin.service,
      valkey: end.valkey === undefined ? undefined : end.valkey - (begin.valkey ?? 0),
      generator: end.generator - begin.generator,
    };
  }

  private read(): CpuSeconds {
    const { servicePid, valkeyPid } = this.job;
    return {
      service: this.ofProcess(servicePid),
      valkey: valkeyPid === undefined ? undefined : this.ofProcess(valkeyPid),
      generator: this.ofProcess(process.pid),
    };
  }

  /** proc(5): utime and stime are fields 14 and 15; the name in field 2 may contain spaces, but ends in the last `)`. */
  private ofProcess(pid: number): number {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / this.ticksPerSecond;
  }
}
