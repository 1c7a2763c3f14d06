export { type BackendContractOptions, backendContract } from './backend-contract.ts'
export { type CacheBackendContractOptions, cacheBackendContract } from './cache-backend-contract.ts'
export type { DeclareTest, GroupTests } from './runner.ts'
