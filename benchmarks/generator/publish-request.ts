/** A publish request as bytes that are made once; from then on only the digits in them change. */
import { PAYLOAD, writePayload } from './payload.js';

export class PublishRequest {
  readonly bytes: Buffer;
  private readonly payloadsAt: number[] = [];

  /** `messages` 1 is POST /api/v1/messages; more of them is one bulk. */
  constructor(
    topic: string,
    apiKey: string,
    readonly messages: number,
  ) {
    const message = `{"topic":"${topic}","payload":${PAYLOAD}}`;
    const body =
      messages === 1 ? message : `{"messages":[${Array<string>(messages).fill(message).join(',')}]}`;
    this.bytes = Buffer.from(
      `POST /api/v1/messages${messages === 1 ? '' : '/bulk'} HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
        `Authorization: Bearer ${apiKey}\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
    for (let at = this.bytes.indexOf(PAYLOAD); at !== -1; at = this.bytes.indexOf(PAYLOAD, at + 1)) {
      this.payloadsAt.push(at);
    }
  }

  stamp(index: number, sequence: number, sentAtMs: number): void {
    writePayload(this.bytes, this.payloadsAt[index]!, sequence, sentAtMs);
  }
}
