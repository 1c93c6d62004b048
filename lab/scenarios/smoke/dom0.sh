create_guest g1
await 60 "g1 ends" guest_is_gone g1
pass
