/* Who may do what beyond RBAC: kubelets touch only what is theirs, CSRs are approved and asked for
 * by those entitled. */
#pragma once
#include "server/admission/invalid.h"
/* Upstream's NodeRestriction. 0 or -EPERM. */
int restrict_node(const struct admission_request *r, struct admission_failure *f);
/* Upstream's CertificateApproval and CertificateSubjectRestriction. */
int restrict_csr(const struct admission_config *cfg, const struct admission_request *r,
                 struct admission_failure *f);
