export { runCase } from './index.ts'
export { Tab } from './tab.ts'
