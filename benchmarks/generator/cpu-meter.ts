/**
 * User and system time of service, Valkey and generator. Read by the generator itself at both ends of the window: any
 * other process would be told late, just when the machine is busy.
 */
import type { CpuSeconds, Job } from './job.js';
import { cpuSecondsOf } from './processes.js';

export class CpuMeter {
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
      store: end.store === undefined ? undefined : end.store - (begin.store ?? 0),
      generator: end.generator - begin.generator,
    };
  }

  private read(): CpuSeconds {
    const { servicePids, storePids } = this.job;
    return {
      service: cpuSecondsOf(servicePids),
      store: storePids.length === 0 ? undefined : cpuSecondsOf(storePids),
      generator: cpuSecondsOf([process.pid]),
    };
  }
}
