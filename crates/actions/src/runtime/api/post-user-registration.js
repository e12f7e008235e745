'use strict';
// `api` of post-user-registration.
exports.build = () => ({ cache: require('api/cache').cache() });
