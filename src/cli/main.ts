#!/usr/bin/env node
import { Command } from 'commander'
import { VERSION } from '../server.ts'
import { startCommand } from './start.ts'
import { statusCommand } from './status.ts'

const program = new Command('meshwire')
  .description('A WebSocket mesh hub for software agents')
  .version(VERSION)
  .addCommand(startCommand())
  .addCommand(statusCommand())
  .showHelpAfterError()

await program.parseAsync()
