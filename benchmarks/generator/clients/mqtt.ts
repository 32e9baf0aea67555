/** Mosquitto by MQTT 3.1.1: publishes at QoS 1, subscribes at QoS 1 where messages are acknowledged and else at 0. */
import type { Socket } from 'node:net';
import { FrameScanner } from '../frame-scanner.js';
import { payloadOf } from '../payload.js';
import { openReceivingSocket, RECEIVED } from '../receiving-socket.js';
import { RequestTemplate } from '../request-template.js';
import {
  connectPacket,
  DISCONNECT,
  packetIdOf,
  packetSize,
  PINGREQ,
  pubackPacket,
  PUBACK,
  PUBLISH,
  publishPacket,
  subscribePacket,
  typeOf,
} from './mqtt-packets.js';
import { Replies } from './replies.js';
import type { ReceiverEvents, ServiceClient } from './service-client.js';

export const mqtt: ServiceClient = {
  bulkMax: 1,
  openLane: async (job, { topics }) => {
    const template = new RequestTemplate(
      publishPacket(topics.name(0), payloadOf(job.sizes.payloadBytes)),
      topics,
    );
    let onAnswer: (failure: string | undefined) => void = () => undefined;
    const connection = await MqttConnection.open(job.port, {
      onMessage: () => undefined,
      onReceived: () => undefined,
      onFailure: (what) => onAnswer(what),
    });
    connection.onPuback = () => onAnswer(undefined);
    return {
      template,
      send: (answered) => {
        onAnswer = answered;
        connection.write(template.bytes);
      },
      close: () => connection.close(),
    };
  },
  openSocket: async (job, { topic, isDurable }, events) => {
    const connection = await MqttConnection.open(job.port, events);
    await connection.ask(subscribePacket(topic, isDurable ? 1 : 0));
    return { ping: () => connection.ask(PINGREQ), close: () => connection.close() };
  },
};

let connections = 0;

class MqttConnection {
  onPuback: () => void = () => undefined;
  private readonly scanner = new FrameScanner(packetSize, (...frame) => this.onPacket(...frame));
  private readonly replies = new Replies();
  private acks: Buffer[] = [];
  private isClosing = false;

  private constructor(
    private readonly socket: Socket,
    private readonly events: ReceiverEvents,
  ) {}

  static async open(port: number, events: ReceiverEvents): Promise<MqttConnection> {
    const socket = await openReceivingSocket(port, (length) => connection.onBytes(length));
    const connection = new MqttConnection(socket, events);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (!connection.isClosing) events.onFailure('the connection has ended');
    });
    connections += 1;
    await connection.ask(connectPacket(`bench-${process.pid}-${connections}`));
    return connection;
  }

  /** Sends a packet that is answered by one. */
  ask(packet: Buffer): Promise<void> {
    this.write(packet);
    return this.replies.next();
  }

  write(packet: Buffer): void {
    this.socket.write(packet);
  }

  close(): void {
    this.isClosing = true;
    this.write(DISCONNECT);
    this.socket.end();
  }

  private onBytes(length: number): void {
    this.scanner.feed(RECEIVED, 0, length);
    if (this.acks.length > 0) {
      this.write(Buffer.concat(this.acks));
      this.acks = [];
    }
    this.events.onReceived();
  }

  private onPacket(bytes: Buffer, start: number, end: number): void {
    switch (typeOf(bytes, start)) {
      case PUBLISH: {
        this.events.onMessage(bytes, start, end);
        const id = packetIdOf(bytes, start);
        if (id !== 0) this.acks.push(pubackPacket(id));
        return;
      }
      case PUBACK:
        this.onPuback();
        return;
      default:
        this.replies.arrived();
    }
  }
}
