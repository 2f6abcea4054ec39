# Installs missing Debian packages as root, or says exactly what to type. Included by apxs.mk, which owns the lists.
.PHONY: packages-build packages-run packages-test packages-bench
define NEED
	@missing=; for p in $(1); do dpkg -s $$p 2>/dev/null | grep -q '^Status: install ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then echo "installing:$$missing"; apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  else echo "Missing Debian packages. As root, run:"; echo "  apt-get update && apt-get install -y --no-install-recommends$$missing"; exit 1; fi; fi
endef
packages-build: ; $(call NEED,$(PKG_BUILD))
packages-run: ; $(call NEED,$(PKG_BUILD) $(PKG_RUN))
packages-test: ; $(call NEED,$(PKG_BUILD) $(PKG_RUN) $(PKG_TEST))
packages-bench: ; $(call NEED,$(PKG_BENCH))
