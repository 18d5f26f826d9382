#ifndef CERTS_CLIBPQ_SHIM_H
#define CERTS_CLIBPQ_SHIM_H

// What CertsMaintenance needs of libpq (15 or newer). All of it is plain functions that Swift imports as they are; only
// the field codes of PQresultErrorField are characters in macros, which Swift does not import. No logic.

#include <libpq-fe.h>

static const int certs_pg_diag_sqlstate = PG_DIAG_SQLSTATE;
static const int certs_pg_diag_message = PG_DIAG_MESSAGE_PRIMARY;
static const int certs_pg_diag_detail = PG_DIAG_MESSAGE_DETAIL;
static const int certs_pg_diag_severity = PG_DIAG_SEVERITY_NONLOCALIZED;
static const int certs_pg_diag_constraint = PG_DIAG_CONSTRAINT_NAME;

#endif
