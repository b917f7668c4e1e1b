"""`slipway-server record-checks`: writes down how an export answers, for `loading.checks` to compare with."""
