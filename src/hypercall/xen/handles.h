// Owners of what Xen's libraries hand out. Included by the files of hypercall/xen/ alone.
#ifndef TMEM_HYPERCALL_XEN_HANDLES_H_
#define TMEM_HYPERCALL_XEN_HANDLES_H_

#include <cstdio>
#include <cstdlib>
#include <memory>

// Xen's headers do not know C++, and need GNU's dialect (see CMakeLists.txt).
extern "C" {
#include <xenctrl.h>
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>
#include <xentoollog.h>
}

namespace tmem::xen {

template <auto kClose>
struct Closer {
  template <class T>
  void operator()(T* what) const {
    (void)kClose(what);
  }
};

using StoreHandle = std::unique_ptr<xs_handle, Closer<xs_close>>;
using ControlHandle = std::unique_ptr<xc_interface, Closer<xc_interface_close>>;
using GrantHandle = std::unique_ptr<xengnttab_handle, Closer<xengnttab_close>>;
using ChannelHandle = std::unique_ptr<xenevtchn_handle, Closer<xenevtchn_close>>;
using Logger = std::unique_ptr<xentoollog_logger, Closer<xtl_logger_destroy>>;

// What a library allocated with malloc.
template <class T>
using Allocated = std::unique_ptr<T, Closer<std::free>>;

// The libraries log what fails to stderr, also what a hostile guest makes fail as often as it
// likes. Our callers get errors and decide what becomes of them.
inline Logger QuietLogger() {
  return Logger(
      reinterpret_cast<xentoollog_logger*>(xtl_createlogger_stdiostream(stderr, XTL_CRITICAL, 0)));
}

}  // namespace tmem::xen

#endif  // TMEM_HYPERCALL_XEN_HANDLES_H_
