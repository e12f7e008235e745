export { createGuard } from './guard.js';
