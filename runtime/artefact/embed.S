// The bytes of artefact.o, which is linked into every compiled network, and of cnn.h, which every header copies.
  .section .rodata
  .balign 16
  .globl cnnc_artefact_begin, cnnc_artefact_end, cnnc_header_begin, cnnc_header_end
cnnc_artefact_begin:
  .incbin CNNC_ARTEFACT_OBJECT
cnnc_artefact_end:
  .balign 16
cnnc_header_begin:
  .incbin CNNC_ARTEFACT_HEADER
cnnc_header_end:
  .section .note.GNU-stack, "", @progbits
